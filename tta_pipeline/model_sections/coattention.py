"""Sections of the models in which genes and patches read each other: MCAT, MOTCat, CMTA."""

from typing import Literal

from pydantic import Field, model_validator

from tta_pipeline.model_sections.base import Architecture


class _Attention(Architecture):
    """Tokens that attend to those of their own modality."""

    hidden_dim: int = Field(256, ge=1, description="width of tokens, and of either modality's vector")
    heads: int = Field(8, ge=1, description="heads of the attention within a modality; they divide hidden_dim")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "_Attention":
        if self.hidden_dim % self.heads:
            raise ValueError(f"heads must divide hidden_dim, found {self.heads} and {self.hidden_dim}")
        return self


class CoAttention(_Attention):
    """What MCAT, MOTCat and LD-CVAE share: all but the way in which the bag is read, and the genes are had."""

    layers: int = Field(2, ge=1, description="Transformer layers of either modality")
    feed_forward_dim: int = Field(512, ge=1, description="hidden width of those layers")
    attention_dim: int = Field(256, ge=1, description="width of the attention that pools tokens")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout of all layers, alpha dropout of the gene nets")
    fusion: Literal["concat", "bilinear"] = Field(
        "concat", description="vectors of the modalities side by side, or their gated outer product"
    )


class MCAT(CoAttention):
    """Gene sets read the bag by attention (Chen et al., ICCV 2021)."""

    architecture: Literal["mcat"]


class MOTCat(CoAttention):
    """MCAT with an optimal transport plan for the attention (Xu and Chen, ICCV 2023)."""

    architecture: Literal["motcat"]
    epsilon: float = Field(0.1, gt=0, description="entropy of the plan; published with 0.05 for BLCA and LUAD")
    tau: float = Field(0.5, gt=0, description="weight of equal masses (KL) of patches, and of gene sets, in the plan")
    micro_batch: int | None = Field(
        None, ge=1, description="patches that a part of a bag holds at most, 256 in the paper; null: the bag is whole"
    )


class CMTA(_Attention):
    """Modalities that are encoded, and translated into each other (Zhou and Chen, ICCV 2023)."""

    architecture: Literal["cmta"]
    gene_hidden_dim: int = Field(1024, ge=1, description="hidden width of each gene set's net")
    landmarks: int = Field(128, ge=1, description="landmarks of the attention among patches")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout of patches, alpha dropout of the gene nets")
    attention_dropout: float = Field(0.1, ge=0, lt=1, description="dropout of what the attention gives")
    alignment_weight: float = Field(
        1.0,
        ge=0,
        description="weight of the distance between class tokens and their translations; published per cohort: 1 for "
        "BLCA, GBMLGG, UCEC, 100 for BRCA, 0.0001 for LUAD",
    )
    released: bool = Field(
        False,
        description="attention among gene sets through landmarks, and zeros that take part in all attention where "
        "their number is not reached, as in the released code; false: exact among gene sets, and no zeros",
    )
