"""Sections of the models that see genes alone."""

from typing import Literal

from pydantic import Field

from tta_pipeline.model_sections.base import Architecture


class MLP(Architecture):
    """Perceptron on all genes of the sets, each once (the tabular baseline of SurvPath, Jaume et al., CVPR 2024)."""

    architecture: Literal["mlp"]
    hidden_dim: int = Field(32, ge=1, description="width of both hidden layers")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout of hidden layers")


class SNN(Architecture):
    """Self-normalising network on all genes of the sets, each once (Klambauer et al., NeurIPS 2017)."""

    architecture: Literal["snn"]
    hidden_dim: int = Field(256, ge=1, description="width of both hidden layers")
    dropout: float = Field(0.25, ge=0, lt=1, description="alpha dropout of hidden layers")
