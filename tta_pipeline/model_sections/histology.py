"""Sections of the models that see patches alone."""

from typing import Literal

from pydantic import Field

from tta_pipeline.model_sections.base import Architecture


class MeanPool(Architecture):
    """Perceptron on the mean of a patient's patches."""

    architecture: Literal["mean-pool"]
    recipe: Literal["common"] = Field("common", description="the section `train`: it was not published in this form")
    hidden_dim: int = Field(256, ge=1, description="width of both hidden layers")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout of hidden layers")
    pooling: Literal["mean", "sum"] = Field(
        "mean", description="sum: grows with the number of patches, so that the risk knows the size of the slide"
    )


class ABMIL(Architecture):
    """Gated attention over a patient's patches (Ilse, Tomczak, Welling, ICML 2018)."""

    architecture: Literal["abmil"]
    embedding_dim: int = Field(512, ge=1, description="width of embedded patches")
    attention_dim: int = Field(256, ge=1, description="width of the attention")
    hidden_dim: int = Field(256, ge=1, description="width of the layer before the risk")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout of embeddings, attention and hidden layer")
