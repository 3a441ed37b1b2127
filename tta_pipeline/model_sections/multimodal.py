"""Sections of the models that see genes and patches; TTA has a file of its own."""

from typing import Literal

from pydantic import Field

from tta_pipeline.model_sections.base import Architecture


class LateFusion(Architecture):
    """ABMIL of the patches and SNN of the genes, side by side."""

    architecture: Literal["late-fusion"]
    embedding_dim: int = Field(512, ge=1, description="width of embedded patches")
    attention_dim: int = Field(256, ge=1, description="width of the attention")
    hidden_dim: int = Field(256, ge=1, description="width of either modality, and of both")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout of either modality")
    fusion: Literal["concat", "bilinear", "sum"] = Field(
        "concat",
        description="vectors of the modalities side by side, or their gated outer product; sum: a risk of the patches "
        "plus one of the genes",
    )


class SurvPath(Architecture):
    """One attention of pathways and patches, without that of patches to patches (Jaume et al., CVPR 2024)."""

    architecture: Literal["survpath"]
    embedding_dim: int = Field(256, ge=1, description="width of pathway and patch tokens")
    attention_dim: int = Field(128, ge=1, description="width of the one head of attention, and of what follows it")
    hidden_dim: int = Field(64, ge=1, description="width of the layer before the risk")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the feed-forward layer")
    gene_dropout: float = Field(0.25, ge=0, lt=1, description="alpha dropout of the gene nets")
