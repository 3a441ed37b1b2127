"""All sections of a study, and its config file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from tta_pipeline.config.inputs import Inputs
from tta_pipeline.config.messages import describe
from tta_pipeline.config.patients import BadSlides, Cohort, Pathways, Splits
from tta_pipeline.config.results import Evaluate, Report
from tta_pipeline.config.slides import Features, Tiles
from tta_pipeline.config.train import Train, recipe_of
from tta_pipeline.errors import InputError
from tta_pipeline.model_sections import TTA, Architecture, Model, Stacked, Tabular
from tta_pipeline.section import Section


class Study(Section):
    """One study: one config file."""

    inputs: Inputs
    bad_slides: BadSlides = BadSlides()
    cohort: Cohort = Cohort()
    tiles: Tiles = Tiles()
    features: Features = Features()
    pathways: Pathways = Pathways()
    splits: Splits = Splits()
    models: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")], Model] = Field(
        {"tta": TTA()}, min_length=1, description="name -> model; each is trained on every fold and seed"
    )
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()

    @property
    def networks(self) -> dict[str, Architecture]:
        """The models that are trained in epochs, with a recipe."""
        return {name: one for name, one in self.models.items() if isinstance(one, Architecture)}

    @property
    def reported(self) -> tuple[str, ...]:
        """Names of the models that the report shows."""
        return tuple(name for name in self.models if name not in self.report.without)

    def risks_of(self, name: str) -> tuple[str, ...]:
        """Names of the models whose risks a model reads."""
        model = self.models[name]
        return model.risks_of if isinstance(model, Stacked) else ()

    @property
    def read_by_others(self) -> tuple[str, ...]:
        """Names of the models whose risks one that is reported reads."""
        read = {other for name in self.reported for other in self.risks_of(name)}
        return tuple(name for name in self.models if name in read)

    @model_validator(mode="after")
    def _report_has_models(self) -> "Study":
        unknown = [name for name in self.report.without if name not in self.models]
        if unknown or set(self.report.without) >= set(self.models):
            raise ValueError(
                f"report.without: expected some of the models {', '.join(self.models)}, found "
                f"{', '.join(unknown) or 'all of them'}"
            )
        return self

    @model_validator(mode="after")
    def _recipes_are_valid(self) -> "Study":
        for model in self.networks.values():
            recipe_of(model, self.train)
        return self

    @model_validator(mode="after")
    def _risks_are_of_models(self) -> "Study":
        stacked = {name: one for name, one in self.models.items() if isinstance(one, Stacked)}
        for name, one in stacked.items():
            known = [other for other in self.models if other not in stacked]
            if unknown := [other for other in one.risks_of if other not in known]:
                raise ValueError(
                    f"models: {name}: risks_of: expected some of the models without risks_of ({', '.join(known)}), "
                    f"found {', '.join(unknown)}"
                )
            on_test = [other for other in one.risks_of if self._chooses_on_test(other)]
            if on_test:
                raise ValueError(
                    f"models: {name}: risks_of: expected models whose epoch is not chosen on the test part, found "
                    f"{', '.join(on_test)} with checkpoint: published. Set another checkpoint, or leave {name} out"
                )
        return self

    def _chooses_on_test(self, name: str) -> bool:
        model = self.models[name]
        return isinstance(model, Architecture) and recipe_of(model, self.train).checkpoint == "published"

    @model_validator(mode="after")
    def _covariates_are_named(self) -> "Study":
        reading = [name for name, one in self.models.items() if isinstance(one, Tabular) and one.needs_covariates]
        if reading and not self.inputs.covariates:
            raise InputError(
                f"models: {', '.join(reading)}: expected clinical covariates in inputs.covariates, found none. Name "
                "columns of the clinical table there, such as age, sex, stage and grade, or leave the model out."
            )
        return self


def load(*paths: Path) -> Study:
    """Read a study's config file, or several: a later one adds to the earlier, as with Snakemake's `--configfile`.

    Raises
    ------
    InputError
        A file is missing or not YAML, a key is unknown, a value is of the wrong type or out of its limits.
    """
    content: dict[str, Any] = {}
    for path in paths:
        content = _added(content, _read(path))
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise InputError(describe(error, where=", ".join(map(str, paths)))) from error


def _added(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are joined, key by key; of anything else the second counts."""
    both = {**first, **second}
    nested = [key for key in first if isinstance(first[key], Mapping) and isinstance(second.get(key), Mapping)]
    return both | {key: _added(first[key], second[key]) for key in nested}


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: expected a config file, found nothing. Give the path of a YAML file.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: expected YAML, found: {error}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected sections at the top level, found {type(content).__name__}.")
    return content
