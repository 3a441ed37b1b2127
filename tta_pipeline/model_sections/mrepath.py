"""The section of MRePath."""

from typing import Literal

from pydantic import Field

from tta_pipeline.model_sections.base import MultiHead


class MRePath(MultiHead):
    """Hypergraph of patches, and modalities that are weighed and aligned (Qu et al., IJCAI 2025)."""

    architecture: Literal["mrepath"]
    hidden_dim: int = Field(256, ge=1, description="width of tokens")
    gene_hidden_dim: int = Field(1024, ge=1, description="hidden width of each gene set's net")
    neighbourhoods: tuple[Literal["features", "space"], ...] = Field(
        ("features", "space"),
        min_length=1,
        description="hyperedges of each patch: with the patches whose features are nearest; with those nearest on its "
        "slide by the `coords` of the feature file, or in the order of a file that has none",
    )
    neighbours: int = Field(4, ge=1, description="patches beside the first one of a hyperedge")
    convolutions: int = Field(3, ge=0, description="convolutions on the hypergraph")
    heads: int = Field(4, ge=1, description="heads of the attention; they divide hidden_dim")
    feed_forward_dim: int = Field(512, ge=1, description="hidden width of the net between the attentions")
    head_dim: int = Field(128, ge=1, description="width of the layer before the risk")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout of patches, alpha dropout of the gene nets")
    rebalance: bool = Field(
        True, description="weigh the modalities by their confidence; false: as the released code, which does not"
    )
