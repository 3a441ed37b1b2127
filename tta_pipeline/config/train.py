"""The section of the training, and the recipe of one model."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from tta_pipeline.config.messages import describe
from tta_pipeline.errors import InputError
from tta_pipeline.model_sections import PUBLISHED, Architecture
from tta_pipeline.section import Fraction, Section


class Search(Section):
    """Values that are tried, all pairs of them."""

    learning_rate: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1, description="learning rates")
    weight_decay: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1, description="weight decays")


class Train(Section):
    """How models are trained."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1, description="one run per seed")
    epochs: int = Field(30, ge=1, description="passes over the training patients")
    batch_size: int = Field(32, ge=1, description="patients per step")
    loss: Literal["cox", "nll", "ranking"] = Field(
        "cox",
        description="cox: partial likelihood; nll: likelihood of a hazard for each bin of follow-up; ranking: smooth "
        "bound of the C-index",
    )
    bins: int = Field(4, ge=2, description="bins of nll and of sampling: quantiles of the training part's event times")
    censored_weight: Fraction = Field(
        1.0, description="weight of censored patients in nll (1 - alpha of the publications)"
    )
    sampling: Literal["stratified", "weighted"] = Field(
        "stratified",
        description="stratified: each patient once per epoch, events shared out over the batches; weighted: drawn with "
        "replacement, every bin and indicator equally often",
    )
    optimiser: Literal["adamw", "adam", "radam", "sgd"] = Field(
        "adamw", description="sgd has momentum 0.9; all but adamw decay by an L2 term"
    )
    schedule: Literal["cosine", "constant"] = Field("cosine", description="of the learning rate after the warm-up")
    patches: int = Field(
        4096, ge=1, description="patches drawn per patient and step; fewer are used whole. mmp summarises whole bags"
    )
    learning_rate: float = Field(1e-4, gt=0, description="peak of the schedule")
    weight_decay: float = Field(1e-5, ge=0, description="adamw: not on biases and norms")
    warmup_fraction: Fraction = Field(0.5, description="part of the steps that warm up linearly")
    gradient_clip: float | None = Field(5.0, gt=0, description="largest gradient norm; null: none is too large")
    ties: Literal["efron", "breslow"] = Field("efron", description="tied event times in the Cox likelihood")
    checkpoint: Literal["last", "validation", "published"] = Field(
        "last",
        description="weights of the last epoch; of the best loss on the validation part; or, as the published runs "
        "did, of the best loss on the test part: no estimate for new patients, and every table says so",
    )
    search: Search | None = Field(
        None,
        description="lists `learning_rate` and `weight_decay`, in place of those two keys: each pair is trained, and "
        "the one of the lowest loss on the validation part is kept; the same lists for all models, none for a model "
        "with `recipe: published`. Training takes as many times longer as there are pairs",
    )
    standardise_features: bool = Field(False, description="scale features by mean and variance of the training fold")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA when there is one")
    cache_gb: float = Field(8.0, ge=0, description="features kept in memory, in GB; the rest is read again")

    @model_validator(mode="after")
    def _searched_on_validation(self) -> "Train":
        if self.search is not None and self.checkpoint == "published":
            raise ValueError(
                "search chooses on the validation part, checkpoint: published on the test part: leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _compares_patients(self) -> "Train":
        if self.loss in ("cox", "ranking") and self.batch_size < 2:
            raise ValueError(
                f"loss {self.loss} compares the patients of a step: expected a batch_size of at least 2, found 1; or "
                "take loss: nll"
            )
        return self


SHARED_BY_MODELS = {"seeds", "search"}  # keys of the section train that no model has for itself


def recipe_of(model: Architecture, common: Train) -> Train:
    """How a model is trained: the section `train`, over it the published recipe if that is wanted, then its own keys.

    A published recipe is not searched.

    Raises
    ------
    InputError
        A key of the model's own `train` is unknown, out of its limits, or one that all models share.
    """
    for key in SHARED_BY_MODELS & set(model.train):
        raise InputError(
            f"models: train.{key}: expected the {key} of all models in the section train, found some of one."
        )
    published = PUBLISHED[model.architecture] | {"search": None} if model.recipe == "published" else {}
    try:
        return Train.model_validate({**common.model_dump(), **published, **model.train})
    except ValidationError as error:
        raise InputError(describe(error, where=f"models: {model.architecture}: train")) from error
