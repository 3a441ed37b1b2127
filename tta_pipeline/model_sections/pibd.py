"""The section of PIBD."""

from typing import Literal

from pydantic import Field, model_validator

from tta_pipeline.model_sections.base import Architecture


class PIBD(Architecture):
    """Prototypical information bottleneck and disentanglement (Zhang, Xu et al., ICLR 2024)."""

    architecture: Literal["pibd"]
    preset: Literal["paper", "released"] = Field(
        "paper",
        description="released: deviations stand for variances where the modalities' prototypes are multiplied, the "
        "auxiliary terms are divided by the patients of the batch, one gradient trains features and their estimator",
    )
    bins: int = Field(4, ge=1, description="bins of follow-up, each with a prototype for events and one for censoring")
    part_patches: int = Field(512, ge=1, description="patches per part that a bag is cut into; scores are means of all")
    kept_patches: float = Field(0.5, gt=0, le=1, description="patches selected, in parts of those of a part of a bag")
    kept_pathways: float = Field(0.8, gt=0, le=1, description="pathways selected, in parts of all")
    samples: int = Field(50, ge=1, description="draws from a prototype, of which the mean is taken")
    hidden_dim: int = Field(256, ge=1, description="width of tokens; a multiple of heads")
    encoder_dim: int = Field(512, ge=1, description="width inside encoders and estimators")
    heads: int = Field(4, ge=1, description="heads of the attention")
    dropout: float = Field(0.25, ge=0, lt=1, description="alpha dropout of gene nets")
    encoder_dropout: float = Field(0.2, ge=0, lt=1, description="dropout of encoders")
    block_dropout: float = Field(0.1, ge=0, lt=1, description="dropout, and drop-path, of the attention block")
    prototype_weight: float = Field(1.0, ge=0, description="weight of cosines to a patient's own prototypes")
    classification_weight: float = Field(0.1, ge=0, description="weight of the likelihood of prototypes, per modality")
    censored_weight: float = Field(0.5, ge=0, le=1, description="weight of censored prototypes in that likelihood")
    prior_weight: float = Field(0.01, ge=0, description="weight of prototypes against a normal prior, per modality")
    information_weight: float = Field(0.1, ge=0, description="weight of the bounds of information and of their fit")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "PIBD":
        if self.hidden_dim % self.heads:
            raise ValueError(f"hidden_dim must be a multiple of heads, found {self.hidden_dim} and {self.heads}")
        return self
