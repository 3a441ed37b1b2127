"""The section of TTA."""

from typing import Literal

from pydantic import Field, model_validator

from tta_pipeline.model_sections.base import Architecture
from tta_pipeline.section import Fraction

Modality = Literal["histology", "genomics"]


class TTA(Architecture):
    """The TTA model ("Together, Then Apart", arXiv 2511.18089) and its ablations."""

    architecture: Literal["tta"] = "tta"
    modalities: tuple[Modality, ...] = Field(
        ("histology", "genomics"), min_length=1, max_length=2, description="inputs that the model sees"
    )
    preset: Literal["paper", "released"] = Field(
        "paper", description="released: double softmax of image queries, rho of step 0 at evaluation, as published"
    )
    hidden_dim: int = Field(256, ge=1, description="width of tokens")
    shared_dim: int = Field(256, ge=1, description="width of the space that tokens and prototypes share")
    prototypes: int = Field(32, ge=2, description="prototypes per bank")
    temperature: float = Field(0.5, gt=0, description="divisor of the cosines of tokens and prototypes")
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout of tokens and feed-forward layers")
    negative_slope: float = Field(0.1, ge=0, lt=1, description="slope of LeakyReLU below 0")
    together: bool = Field(True, description="transport of tokens; false pools by softmax alone")
    sharing: Literal["joint", "separate-transport", "separate-banks"] = Field(
        "joint", description="one problem and bank; one problem per modality; one problem and bank per modality"
    )
    transport: Literal["unbalanced", "fixed", "balanced", "k-means"] = Field(
        "unbalanced", description="mass by the curriculum; mass rho_fixed; equal prototypes; nearest prototype"
    )
    epsilon: float = Field(0.1, gt=0, description="entropy of the transport problem")
    gamma: float = Field(1.0, gt=0, description="weight of equal prototypes (KL) in unbalanced and fixed transport")
    similarity_weight: float = Field(0.1, ge=0, description="weight of the similarity of tokens in the transport")
    rho_start: Fraction = Field(0.1, description="transported mass from which the curriculum rises to 1")
    rho_epochs: float = Field(10.0, ge=0, description="epochs until all mass is transported")
    rho_sharpness: float = Field(5.0, ge=0, description="steepness of that rise")
    rho_fixed: float = Field(0.5, gt=0, le=1, description="transported mass of fixed transport")
    transport_weight: Fraction = Field(0.5, description="plan against softmax in the pooling; 1 is the plan alone")
    assignment_weight: float = Field(0.5, ge=0, description="weight of the assignment loss, per modality")
    heads: int = Field(5, ge=1, description="projections to the shared space; one works, consistency chooses it")
    consistency_weight: float = Field(0.01, ge=0, description="weight of the multi-head loss, per modality")
    consistency_every: int = Field(3, ge=1, description="steps from one multi-head loss to the next")
    view_fraction: float = Field(0.8, gt=0, le=1, description="part of a bag's tokens in each of its two views")
    view_overlap: Fraction = Field(0.8, description="part of a view's tokens that the other view holds too")
    anchors: bool = Field(True, description="anchors and refiners (Apart); false leaves tokens as they are")
    replace_tokens: bool = Field(True, description="refined tokens replace the tokens; false uses them for contrast")
    contrast_weight: float = Field(0.5, ge=0, description="weight of the contrast of anchors, per modality")
    contrast_temperature: float = Field(0.1, gt=0, description="divisor of the cosines of patients and anchors")
    fusion: Literal["co-attention", "concat", "sum", "mlp"] = Field(
        "co-attention", description="how the tokens of the modalities become one vector"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "TTA":
        if len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities must be named once, found {self.modalities}")
        if self.view_fraction * (2 - self.view_overlap) > 1:
            raise ValueError(
                "two views must fit in a bag: view_fraction * (2 - view_overlap) <= 1, "
                f"found {self.view_fraction * (2 - self.view_overlap):g}"
            )
        return self
