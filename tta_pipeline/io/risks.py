"""Risks that other models gave, for a model that reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, hdf5, tables

Floats = NDArray[np.float64]
_MEDIAN = "train_risk_median"


@dataclass(frozen=True)
class Given:
    """Artifacts of the evaluate stage, and the splits whose fits gave them: of one fold, or of parts inside of it."""

    paths: Sequence[Path]
    splits: Path
    folds: Sequence[int]


def inner_folds(inner_splits: Path, *, splits: Path, repeat: int, fold: int) -> list[int]:
    """The folds of the inner splits that cut the training part of one fold.

    Raises
    ------
    InputError
        There are none: the inner splits were drawn in other ones.
    """
    outer, inner = (tables.read_table(path, columns=tables.SPLITS) for path in (splits, inner_splits))
    of_fold = outer[(outer["repeat"] == repeat) & (outer["fold"] == fold)]
    known = set(of_fold.loc[of_fold["role"] != "test", "patient_id"])
    found = [
        int(str(number))
        for number, rows in inner[inner["repeat"] == repeat].groupby("fold")
        if set(rows["patient_id"]) == known
    ]
    if not found:
        raise InputError(
            f"{inner_splits}: expected folds of the {len(known)} patients who are not tested in repeat {repeat}, fold "
            f"{fold} of {splits}, found none. Run the splits stage again."
        )
    return found


def read_risks(given: Given, *, models: Sequence[str], ids: Sequence[str], repeat: int, seed: int) -> dict[str, Floats]:
    """Risk of each patient by each model, above the median of the patients whom the fit that gave it was trained on.

    The median is taken away because the risk of a Cox model has no zero of its own: fits of one model differ in it.

    Parameters
    ----------
    given
        One artifact for each model and each of its folds.
    models
        Their names.
    ids
        Patients, each of whom is tested in one of the folds.

    Returns
    -------
    model -> (patients,), in the order of `models` and `ids`.

    Raises
    ------
    InputError
        An artifact is of another model, repeat, fold or seed, of other splits, of an epoch chosen on its test part, or
        too old; or a patient has no risk by a model, or two.
    """
    risks: dict[str, dict[str, float]] = {name: {} for name in models}
    for path in given.paths:
        found = artifacts.read_predictions(path)
        _check(found.attributes, given, path=path, models=models, repeat=repeat, seed=seed)
        own = risks[found.attributes["name"]]
        if twice := sorted(own.keys() & set(found.patient_id)):
            raise InputError(f"{path}: expected patients without a risk so far, found one of {', '.join(twice[:5])}.")
        own |= dict(zip(found.patient_id, (found.risk - found.attributes[_MEDIAN]).tolist(), strict=True))
    for name, own in risks.items():
        if missing := [one for one in ids if one not in own]:
            raise InputError(
                f"expected risks of {len(ids)} patients by {name}, found none for {len(missing)}: "
                f"{', '.join(missing[:5])}. Evaluate {name} on every fold that they are tested in."
            )
    return {name: np.array([own[one] for one in ids], dtype=np.float64) for name, own in risks.items()}


def _check(
    attributes: Mapping[str, object], given: Given, *, path: Path, models: Sequence[str], repeat: int, seed: int
) -> None:
    wanted = f"{' or '.join(models)}, repeat {repeat}, fold {' or '.join(map(str, given.folds))}, seed {seed}"
    name, *fit = (attributes.get(key) for key in ("name", "repeat", "fold", "seed"))
    if name not in models or fit[0] != repeat or fit[1] not in given.folds or fit[2] != seed:
        found = f"{name}, repeat {fit[0]}, fold {fit[1]}, seed {fit[2]}"
        raise InputError(f"{path}: expected risks by {wanted}, found some by {found}.")
    if hdf5.read_origin(path).inputs.get("splits") != hdf5.fingerprint(given.splits):
        raise InputError(
            f"{path}: expected risks of patients whom {given.splits} tests, found some by other splits, under which "
            "the model may have seen them. Train and evaluate it again."
        )
    if attributes.get("chosen_on") == "test":
        raise InputError(
            f"{path}: expected risks of patients whom the model did not see, found that its epoch was chosen on them "
            "(train.checkpoint: published). Train it with another checkpoint."
        )
    if _MEDIAN not in attributes:
        raise InputError(
            f"{path}: expected the attribute {_MEDIAN}, found none: it is of an older version. Evaluate again."
        )
