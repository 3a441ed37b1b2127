"""Sections of the models that see patches alone."""

from typing import Literal

from pydantic import Field

from tta_pipeline.model_sections.base import Architecture, MultiHead


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


class TransMIL(MultiHead):
    """Approximate attention between a patient's patches (Shao et al., NeurIPS 2021)."""

    architecture: Literal["transmil"]
    recipe: Literal["common"] = Field("common", description="the section `train`: it was not published for survival")
    hidden_dim: int = Field(512, ge=1, description="width of embedded patches")
    heads: int = Field(8, ge=1, description="heads of either attention; they divide hidden_dim")
    landmarks: int = Field(256, ge=1, description="means of segments of a bag that stand for it in the attention")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of what either attention gives")
    null_tokens: bool = Field(
        False, description="true: zeros that fill a bag to full segments take part in the attention, as published"
    )
