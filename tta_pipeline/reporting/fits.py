"""What the fits of a study left behind: the test parts of each model, and the histories of its trainings."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tta_pipeline.config import Search
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import artifacts
from tta_pipeline.numerics.metrics import Fold, check_outcomes
from tta_pipeline.numerics.scores import Prediction

FIT = ("repeat", "fold", "seed")
ON_TEST = " [chosen on the test part]"  # behind the name of such a model, in every table and figure
TRAIN_MEDIAN = "train_risk_median"  # attribute of a checkpoint: median risk of its training patients
_SIZES = ("n_train", "n_train_events")
_WITHOUT_EFFECT = {"cache_gb", "device"}  # keys of a recipe that change no result, but for rounding

Checkpoints = Mapping[str, Sequence[artifacts.Checkpoint]]


@dataclass(frozen=True)
class Evaluated:
    """Test parts by model, in the order of the files.

    predictions: the same with predicted survival. exchanged: with a modality of somebody else, by model of two
    modalities, modality and draw; there may be no draws. sizes: of their training parts.
    left_out: slides, with reasons. empty: fits that give every patient one risk, by what they say of it.
    """

    models: dict[str, list[Fold]]
    predictions: dict[str, list[Prediction]]
    exchanged: dict[str, dict[str, list[list[Fold]]]]
    sizes: pd.DataFrame
    left_out: dict[str, str]
    empty: dict[str, list[str]]


def read_evaluated(paths: Sequence[Path]) -> Evaluated:
    """Read the artifacts of the evaluate stage.

    Raises
    ------
    InputError
        There are none, two for one fit, or some with other horizons or another number of exchanges.
    ArtifactError
        A file is missing or damaged, lacks an attribute, or holds an outcome or risk, be it with a modality
        of another patient, that is no finite number, or a survival that is no probability.
    """
    if not paths:
        raise InputError("--evaluated: expected the artifacts of the evaluate stage, found none.")
    found = Evaluated({}, {}, {}, sizes=pd.DataFrame(), left_out={}, empty={})
    seen: dict[tuple[object, ...], Path] = {}
    sizes = []
    options: dict[str, dict[str, Path]] = {}
    for path in paths:
        one = artifacts.read_predictions(path)
        _require(one.attributes, ("name", *FIT, *_SIZES), path=path, remedy="Evaluate again.")
        key = tuple(one.attributes[name] for name in ("name", *FIT))
        if key in seen:
            raise InputError(f"expected one file per model, repeat, fold and seed, found two: {seen[key]} and {path}.")
        seen[key] = path
        for option, value in _options(one).items():
            options.setdefault(option, {}).setdefault(value, path)
        _check_options(options)
        model = _label(one.attributes)
        _add(found, one, model=model, part=_test_part(one, path=path))
        sizes.append((model, *key[1:], *(one.attributes[name] for name in _SIZES)))
    return replace(found, sizes=pd.DataFrame(sizes, columns=["model", *FIT, *_SIZES]))


def read_trained(paths: Sequence[Path]) -> dict[str, list[artifacts.Checkpoint]]:
    """Checkpoints by model, without their weights.

    Raises
    ------
    ArtifactError
        A file is missing or damaged, or lacks an attribute.
    """
    models: dict[str, list[artifacts.Checkpoint]] = {}
    for path in paths:
        found = artifacts.read_checkpoint(path)
        _require(found.attributes, ("name", *FIT), path=path, remedy="Train again.")
        light = artifacts.Checkpoint({}, {}, {}, history=found.history, attributes=found.attributes)
        models.setdefault(_label(found.attributes), []).append(light)
    return models


def excluded(attributes: Iterable[Mapping[str, dict[str, str]]]) -> dict[str, str]:
    """Slides that the artifacts say were left out, with reasons."""
    return {slide: reason for one in attributes for slide, reason in one.get("excluded", {}).items()}


def train_medians(checkpoints: Sequence[artifacts.Checkpoint]) -> dict[tuple[int, int, int], float]:
    """Repeat, fold and seed -> median risk of the training patients, where the checkpoint says it."""
    return {
        (one.attributes["repeat"], one.attributes["fold"], one.attributes["seed"]): one.attributes[TRAIN_MEDIAN]
        for one in checkpoints
        if TRAIN_MEDIAN in one.attributes
    }


def inner_fits(checkpoints: Checkpoints) -> set[tuple[str, int, int]]:
    """Name, repeat and seed of the models that were trained inside of training parts too, for one that reads risks."""
    return {
        (name, one.attributes["repeat"], one.attributes["seed"])
        for own in checkpoints.values()
        for one in own
        for name in one.attributes.get("model", {}).get("risks_of", [])
    }


def unchecked_modalities(found: Evaluated) -> list[str]:
    """Names of models of two modalities that were never scored with one of them from another patient."""
    return [model for model, own in found.exchanged.items() if not any(own.values())]


def mixed_settings(checkpoints: Checkpoints) -> list[str]:
    """Names of models whose fits differ in options or recipe, by more than what a search chose for each."""
    settings: dict[str, set[str]] = {}
    for own in checkpoints.values():
        for one in own:
            settings.setdefault(one.attributes["name"], set()).add(_settings(one.attributes))
    return [name for name, found in settings.items() if len(found) > 1]


def trained_in_bins(checkpoints: Checkpoints) -> list[str]:
    """Names of models that were trained by hazards in bins of follow-up (loss nll)."""
    return [
        model
        for model, own in checkpoints.items()
        if any(one.attributes.get("recipe", {}).get("loss") == "nll" for one in own)
    ]


def fit_table(checkpoints: Checkpoints) -> pd.DataFrame:
    """One row per fit: model, name, repeat, fold, seed, parameters, epochs, those of its last job; NaN: not known."""
    rows = [
        (model, *(one.attributes[name] for name in ("name", *FIT)), *_size_and_length(one.attributes))
        for model, own in checkpoints.items()
        for one in own
    ]
    table = pd.DataFrame(rows, columns=["model", "name", *FIT, "n_parameters", "epochs", "epochs_run"])
    return table.astype(dict.fromkeys(("n_parameters", "epochs", "epochs_run"), "float64"))


def _options(found: artifacts.Predictions) -> dict[str, str]:
    """Options of an evaluation that all of a report must share, as text; the page has one header and one note for them.

    An artifact without exchanges says nothing of their number.
    """
    days = ", ".join(f"{day:.12g}" for day in found.horizons_days)
    draws = max((len(risks) for risks in found.exchanged.values()), default=0)
    return {"horizons_days": days or "none"} | ({"exchanges": str(draws)} if draws else {})


def _check_options(found: Mapping[str, Mapping[str, Path]]) -> None:
    """Raise InputError where an option has two values; found: option -> value -> the first file with it."""
    for option, values in found.items():
        if len(values) > 1:
            (value, first), (other, path) = list(values.items())[:2]
            raise InputError(
                f"{path}: expected evaluate.{option} to be {value}, as for {first}, found {other}. A report is of "
                "one evaluation of all its models: run snakemake --forcerun evaluate."
            )


def _settings(attributes: Mapping[str, Any]) -> str:
    recipe = attributes.get("recipe", {})
    tried = [[row.get(key) for key in Search.model_fields] for row in attributes.get("search") or []]
    passed_over = _WITHOUT_EFFECT | (set(Search.model_fields) if tried else set())
    own = {key: value for key, value in recipe.items() if key not in passed_over}
    return json.dumps([attributes.get("model"), own, tried], sort_keys=True)


def _size_and_length(attributes: Mapping[str, Any]) -> tuple[float, float, float]:
    """Parameters, epochs of all combinations, and how many of these its last job trained; 0 is as if not known."""
    epochs = attributes.get("recipe", {}).get("epochs", np.nan) * max(1, len(attributes.get("search") or []))
    return attributes.get("n_parameters", np.nan), epochs, attributes.get("epochs_run", epochs) or np.nan


def _require(attributes: Mapping[str, object], names: Iterable[str], *, path: Path, remedy: str) -> None:
    missing = set(names) - set(attributes)
    if missing:
        raise ArtifactError(f"{path}: expected the attributes {sorted(missing)}, found none. {remedy}")


def _test_part(found: artifacts.Predictions, *, path: Path) -> Fold:
    _check_survival(found, path=path)
    _check_exchanged(found, path=path)
    try:
        check_outcomes(risk=found.risk, time_days=found.time_days, event=found.event)
    except InputError as error:
        raise ArtifactError(f"{path}: {error} Train and evaluate again.") from error
    return Fold(
        **{name: int(found.attributes[name]) for name in FIT},
        patient_id=np.array(found.patient_id, dtype=np.str_),
        risk=found.risk,
        time_days=found.time_days,
        event=found.event,
    )


def _check_survival(found: artifacts.Predictions, *, path: Path) -> None:
    for predicted in (found.survival, found.curves):
        bad = int(((predicted < 0) | (predicted > 1)).any(axis=1).sum())
        if bad:
            raise ArtifactError(
                f"{path}: expected predicted survival in [0, 1], or NaN where there is none, found others for {bad} "
                f"of {len(predicted)} patients. Train and evaluate again."
            )


def _check_exchanged(found: artifacts.Predictions, *, path: Path) -> None:
    for modality, risks in found.exchanged.items():
        bad = int((~np.isfinite(risks)).any(axis=0).sum())
        if bad:
            raise ArtifactError(
                f"{path}: expected finite risks with the {modality} of another patient, found NaN or infinity for "
                f"{bad} of {len(found.risk)} patients. Evaluate again."
            )


def _add(to: Evaluated, found: artifacts.Predictions, *, model: str, part: Fold) -> None:
    to.models.setdefault(model, []).append(part)
    curves = found.survival.astype(np.float64), found.horizons_days, found.curves.astype(np.float64)
    to.predictions.setdefault(model, []).append(Prediction(part, *curves, found.curve_days))
    for modality, risks in found.exchanged.items():
        draws = to.exchanged.setdefault(model, {}).setdefault(modality, [])
        if not draws:
            draws.extend([] for _ in risks)
        if len(risks):
            for draw, risk in zip(draws, risks, strict=True):
                draw.append(replace(part, risk=risk))
    to.left_out.update(excluded([found.attributes]))
    if "reason" in found.attributes:
        fit = f"{model} repeat {part.repeat} fold {part.fold} seed {part.seed}"
        to.empty.setdefault(found.attributes["reason"], []).append(fit)


def _label(attributes: Mapping[str, object]) -> str:
    """A model's name, with what a reader must know of the choice of its weights."""
    return f"{attributes['name']}{ON_TEST if attributes.get('chosen_on') == 'test' else ''}"
