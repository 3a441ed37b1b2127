"""The section of LD-CVAE."""

from typing import Literal

from pydantic import Field, model_validator

from tta_pipeline.model_sections.coattention import CoAttention


class LDCVAE(CoAttention):
    """MCAT on gene sets that are rebuilt from patches and, where they are known, genes (Zhou et al., CVPR 2025)."""

    architecture: Literal["ld-cvae"]
    image_dim: int | None = Field(
        None,
        ge=1,
        description="width of the Transformer that gives the latent of a bag; null: that of the features, as "
        "published, up to a multiple of heads; 256, with 128 landmarks, takes a small part of the time",
    )
    landmarks: int = Field(512, ge=1, description="landmarks of the attention in it; published: half of its width")
    attention_dropout: float = Field(0.1, ge=0, lt=1, description="dropout of what the attention in it gives")
    latent_heads: int = Field(4, ge=1, description="heads of the layer that gives the latent of genes")
    encoder_dim: int = Field(1024, ge=1, description="hidden width of that layer")
    block_dropout: float = Field(0.1, ge=0, lt=1, description="dropout of that layer")
    decoder_dim: int = Field(512, ge=1, description="hidden width of the decoder of gene sets")
    true_epochs: int = Field(5, ge=0, description="epochs that train with true gene tokens; then with rebuilt ones")
    missing_rate: float = Field(0.0, ge=0, le=1, description="part of patients whose genes are withheld in a step")
    genes_at_test: bool = Field(True, description="false: risks are made without any patient's genes")
    bins: int = Field(4, ge=1, description="bins of follow-up that the latent of a bag is trained to tell")
    censored_weight: float = Field(1.0, ge=0, le=1, description="weight of censored patients in that")
    reconstruction_weight: float = Field(1.0, ge=0, description="weight of squared errors of rebuilt gene tokens")
    image_weight: float = Field(1.0, ge=0, description="weight of the likelihood of outcomes by the latent of a bag")
    agreement_weight: float = Field(0.1, ge=0, description="weight of differences of the latents of bag and genes")
    prior_weight: float = Field(0.1, ge=0, description="weight of latents against a normal prior, once it is reached")
    prior_epochs: float = Field(5.0, gt=0, description="epochs in which that weight rises from 0, evenly")

    @model_validator(mode="after")
    def _heads_divide_the_widths(self) -> "LDCVAE":
        if self.hidden_dim % self.latent_heads:
            raise ValueError(f"latent_heads must divide hidden_dim, found {self.latent_heads} and {self.hidden_dim}")
        if self.image_dim is not None and self.image_dim % self.heads:
            raise ValueError(f"heads must divide image_dim, found {self.heads} and {self.image_dim}")
        return self
