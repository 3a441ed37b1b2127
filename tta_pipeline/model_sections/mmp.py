"""The section of MMP."""

from typing import Any, Literal

from pydantic import Field, model_validator

from tta_pipeline.model_sections.base import Architecture

_READ_BY_THE_RELEASED_CODE = {"prior_strength": 0.001, "prior_variance": 0.1}


class MMP(Architecture):
    """Histology as a few prototypes, pathways as tokens (Song et al., ICML 2024, on PANTHER, CVPR 2024)."""

    architecture: Literal["mmp"]
    preset: Literal["paper", "released"] = Field(
        "paper",
        description="released: prototypes read pathways through two softmaxes (fusion transformer), and where they are "
        "not given prior_strength is 0.001 and prior_variance 0.1, as in the published code",
    )
    modalities: tuple[Literal["genomics", "histology"], ...] = Field(
        ("genomics", "histology"), min_length=1, max_length=2, description="inputs that the model sees"
    )
    fusion: Literal["transformer", "partial", "ot", "none"] = Field(
        "transformer",
        description="attention of all tokens; the same without that of prototypes to prototypes; transport of each "
        "modality's tokens to the other's; or no attention",
    )
    summary: Literal["mixture", "transport"] = Field(
        "mixture", description="of a bag: weights, means and variances of a mixture; sums of transported patches"
    )
    pooling: Literal["mean", "concat"] = Field(
        "mean", description="of the prototypes' outputs: their mean, or one beside the other"
    )
    prototypes: int = Field(16, ge=1, description="prototypes of patches")
    prototype_patches: int = Field(
        32_768,
        ge=1,
        description="patches in all, an equal share of each training patient, that prototypes are fitted to; published "
        "1.6 million",
    )
    prior_strength: float = Field(1.0, gt=0, description="patches that the prior of each component counts for")
    prior_variance: float = Field(1.0, gt=0, description="prior variance of each feature in each component")
    hidden_dim: int = Field(256, ge=1, description="width of tokens")
    identity_dim: int = Field(32, ge=1, description="learned numbers that are appended to each token")
    attention_dim: int = Field(144, ge=1, description="width of the attention and of what follows")
    dropout: float = Field(0.25, ge=0, lt=1, description="alpha dropout of gene nets")
    feed_forward_dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the feed-forward nets")

    @model_validator(mode="before")
    @classmethod
    def _released_priors(cls, entry: Any) -> Any:
        if isinstance(entry, dict) and entry.get("preset") == "released":
            return _READ_BY_THE_RELEASED_CODE | entry
        return entry

    @model_validator(mode="after")
    def _fits_together(self) -> "MMP":
        if len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities must be named once, found {self.modalities}")
        if len(self.modalities) == 1 and self.fusion in ("partial", "ot"):
            raise ValueError(f"fusion {self.fusion} is between two modalities, found {self.modalities[0]} alone")
        return self
