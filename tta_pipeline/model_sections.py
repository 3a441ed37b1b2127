"""The models of a config: a pydantic model per architecture, which an entry names; `tta` where it names none.

References stand in the modules of the models.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from tta_pipeline.section import Fraction, Section

Modality = Literal["histology", "genomics"]


class Architecture(Section):
    """What the entries of all architectures share."""

    architecture: str

    recipe: Literal["common", "published"] = Field(
        "common",
        description="common: the section `train`; published: what the model was published with, where that differs",
    )
    train: dict[str, Any] = Field({}, description="keys of the section `train` that this model takes otherwise")


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


class LateFusion(Architecture):
    """ABMIL of the patches and SNN of the genes, side by side."""

    architecture: Literal["late-fusion"]
    embedding_dim: int = Field(512, ge=1, description="width of embedded patches")
    attention_dim: int = Field(256, ge=1, description="width of the attention")
    hidden_dim: int = Field(256, ge=1, description="width of either modality, and of both")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout of either modality")


# Keys of the section `train` that the models were published with. Batches of one patient whose gradients are summed
# over 32 are batches of 32 here: no layer looks across patients. Sources: the papers and the scripts of their code.
_SURVPATH: dict[str, Any] = {  # Jaume et al., CVPR 2024: its tabular baselines
    "loss": "nll", "censored_weight": 0.5, "optimiser": "radam", "learning_rate": 5e-4, "weight_decay": 1e-4,
    "batch_size": 1, "epochs": 5, "schedule": "cosine", "warmup_fraction": 0.2, "sampling": "weighted",
}  # fmt: skip
_MCAT: dict[str, Any] = {  # Chen et al., ICCV 2021
    "loss": "nll", "censored_weight": 1.0, "optimiser": "adam", "learning_rate": 2e-4, "weight_decay": 1e-5,
    "batch_size": 32, "epochs": 20, "schedule": "constant", "warmup_fraction": 0.0, "sampling": "weighted",
    "patches": 1_000_000,
}  # fmt: skip
_TTA: dict[str, Any] = {  # arXiv 2511.18089
    "loss": "cox", "optimiser": "adamw", "learning_rate": 1e-4, "weight_decay": 1e-5, "batch_size": 32, "epochs": 30,
    "schedule": "cosine", "warmup_fraction": 0.5, "sampling": "stratified", "patches": 4096,
}  # fmt: skip
PUBLISHED: dict[str, dict[str, Any]] = {
    "tta": _TTA,
    "mlp": _SURVPATH,
    "snn": _SURVPATH,
    "abmil": _MCAT,
    "late-fusion": _MCAT,
}
ARCHITECTURES: dict[str, type[Architecture]] = {
    "tta": TTA,
    "mlp": MLP,
    "snn": SNN,
    "mean-pool": MeanPool,
    "abmil": ABMIL,
    "late-fusion": LateFusion,
}


def _architecture(entry: Any) -> str:
    return str(entry.get("architecture", "tta") if isinstance(entry, dict) else entry.architecture)


Model = Annotated[
    Annotated[TTA, Tag("tta")]
    | Annotated[MLP, Tag("mlp")]
    | Annotated[SNN, Tag("snn")]
    | Annotated[MeanPool, Tag("mean-pool")]
    | Annotated[ABMIL, Tag("abmil")]
    | Annotated[LateFusion, Tag("late-fusion")],
    Discriminator(
        _architecture,
        custom_error_type="architecture",
        custom_error_message=f"expected an architecture among {', '.join(ARCHITECTURES)}",
    ),
]
