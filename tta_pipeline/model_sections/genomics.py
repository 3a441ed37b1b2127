"""Sections of the models that see genes alone."""

from typing import Literal

from pydantic import Field

from tta_pipeline.model_sections.base import Architecture, MultiHead


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


class PathwayTransformer(MultiHead):
    """Attention between gene sets: the gene branch of MCAT (Chen et al., ICCV 2021), alone."""

    architecture: Literal["pathway-transformer"]
    recipe: Literal["common"] = Field("common", description="the section `train`: it was not published in this form")
    hidden_dim: int = Field(256, ge=1, description="width of tokens, and of the layer before the risk")
    heads: int = Field(8, ge=1, description="heads of the Transformer layers; they divide hidden_dim")
    layers: int = Field(2, ge=1, description="Transformer layers")
    feed_forward_dim: int = Field(512, ge=1, description="hidden width of those layers")
    attention_dim: int = Field(256, ge=1, description="width of the attention that pools tokens")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout of all layers, alpha dropout of the gene nets")
