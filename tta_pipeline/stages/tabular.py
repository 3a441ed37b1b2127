"""The path of train and evaluate for models that are not networks: tables in, arrays out, no features."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.config import BadSlides, Evaluate
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, study
from tta_pipeline.io.fold import Group, digests, require, select
from tta_pipeline.io.risks import Given, read_risks
from tta_pipeline.model_sections import Stacked, Tabular
from tta_pipeline.models.tabular import TABULAR
from tta_pipeline.models.tabular.model import Fitted, Table
from tta_pipeline.numerics.modalities import partners
from tta_pipeline.numerics.survival import curve_times

_COVARIATES = "clinical covariates"  # beside names of models, which have no space
_NAMED = ("chosen_on", "reason")  # notes of a fit that stand among the attributes of its artifacts


def fit(
    model: Tabular,
    roles: dict[str, list[str]],
    *,
    patients: dict[str, study.Patient],
    genes: artifacts.Pathways,
    covariates: Path | None,
    risks: Given | None,
    repeat: int,
    seed: int,
    bad_slides: BadSlides,
) -> artifacts.Checkpoint:
    """Fit on the training patients; validation patients are counted, and take no part.

    Parameters
    ----------
    roles
        Patients by role.
    patients, genes
        What the tables and the pathways artifact say of them.
    covariates
        Table of the cohort stage.
    risks
        What the models of `risks_of` gave the training patients, by fits that did not see them.

    Raises
    ------
    InputError
        No events to learn from, no covariates for a model that needs them, inputs that do not belong together.
    """
    require([one for ids in roles.values() for one in ids], patients=patients, bad_slides=bad_slides)
    groups = {role: select(ids, patients=patients, bags=None, pathways=genes) for role, ids in roles.items()}
    train = groups["train"]
    if not train.event.any():
        raise InputError(f"expected events among the training patients, found none in {len(train)}. Check the splits.")
    table = _table(model, train, genes=genes, covariates=covariates, risks=risks, repeat=repeat, seed=seed)
    method = TABULAR[model.architecture](model)
    fitted = method.fit(table, time_days=train.time_days, event=train.event, seed=seed)
    risk = _finite(method.risk(table, fitted), train.patient_id, architecture=model.architecture)
    return artifacts.Checkpoint(
        weights=dict(fitted.weights),
        scaler=dict(fitted.scaler),
        baseline=dict(fitted.baseline),
        history={},
        attributes={
            "seed": seed,
            "model": model.model_dump(mode="json"),
            "notes": {key: note for key, note in fitted.notes.items() if key not in _NAMED},
            **{key: fitted.notes[key] for key in _NAMED if key in fitted.notes},
            "train_risk_median": float(np.median(risk)),
            **{f"n_{role}": len(group) for role, group in groups.items()},
            **{f"n_{role}_events": int(group.event.sum()) for role, group in groups.items()},
            **digests(genes),
        },
    )


def predict(
    model: Tabular,
    checkpoint: artifacts.Checkpoint,
    test: Group,
    *,
    genes: artifacts.Pathways,
    covariates: Path | None,
    risks: Given | None,
    config: Evaluate,
) -> dict[str, Any]:
    """Risk and survival of the test patients, by the names of the predictions artifact.

    A model that reads risks of others is scored with each source exchanged between the patients, as a network is with
    each of its modalities: the risks of one model, or the covariates.

    Raises
    ------
    InputError
        No covariates for a model that needs them, or a risk that is NaN or infinite.
    """
    fitted = Fitted(checkpoint.weights, checkpoint.scaler, checkpoint.baseline, checkpoint.attributes["notes"])
    fit = {name: checkpoint.attributes[name] for name in ("repeat", "seed")}
    table = _table(model, test, genes=genes, covariates=covariates, risks=risks, **fit)
    method = TABULAR[model.architecture](model)
    days = {
        "survival": np.array(config.horizons_days, dtype=np.float64),
        "curves": curve_times(checkpoint.baseline["time_days"]),
    }

    def risk(of: Table) -> NDArray[np.float64]:
        return _finite(method.risk(of, fitted), test.patient_id, architecture=model.architecture)

    return {
        "risk": risk(table),
        **{name: method.survival(at, table=table, fitted=fitted).astype(np.float32) for name, at in days.items()},
        "horizons_days": days["survival"],
        "curve_days": days["curves"],
        "exchanged": _exchanged(table, risk, config=config) if isinstance(model, Stacked) else {},
    }


def _exchanged(
    table: Table, risk: Callable[[Table], NDArray[np.float64]], *, config: Evaluate
) -> dict[str, NDArray[np.float64]]:
    """Source -> (draws, patients), risks with that source of another patient."""
    patients = len(table.expression)
    generator = np.random.default_rng([config.seed, patients])
    draws = [partners(patients, generator=generator) for _ in range(config.exchanges if patients > 1 else 0)]

    def of_risks(name: str, rows: NDArray[np.int64]) -> Table:
        return replace(table, risks={**table.risks, name: table.risks[name][rows]})

    def of_covariates(rows: NDArray[np.int64]) -> Table:
        return replace(table, covariates={name: [own[row] for row in rows] for name, own in table.covariates.items()})

    sources: dict[str, Callable[[NDArray[np.int64]], Table]] = {name: partial(of_risks, name) for name in table.risks}
    sources |= {_COVARIATES: of_covariates} if table.covariates else {}
    return {
        name: np.array([risk(other(rows)) for rows in draws]).reshape(len(draws), patients)
        for name, other in sources.items()
    }


def _table(
    model: Tabular,
    group: Group,
    *,
    genes: artifacts.Pathways,
    covariates: Path | None,
    risks: Given | None,
    repeat: int,
    seed: int,
) -> Table:
    cells: dict[str, list[str]] = {}
    if model.needs_covariates:
        if covariates is None:
            raise InputError(
                f"{model.architecture}: expected --covariates, the cohort stage's covariates.tsv, found no such option."
            )
        cells = study.read_covariates(covariates, ids=group.patient_id)
    given: dict[str, NDArray[np.float64]] = {}
    if isinstance(model, Stacked):
        if risks is None:
            raise InputError(
                f"{model.architecture}: expected --inner-splits and --risks, artifacts of the evaluate stage of "
                f"{', '.join(model.risks_of)}, found no such options."
            )
        given = read_risks(risks, models=model.risks_of, ids=group.patient_id, repeat=repeat, seed=seed)
    return Table(group.expression, genes.members(), genes.names, cells, given)


def _finite(risk: NDArray[np.float64], patient_id: Sequence[str], *, architecture: str) -> NDArray[np.float64]:
    bad = [one for one, fine in zip(patient_id, np.isfinite(risk), strict=True) if not fine]
    if bad:
        raise InputError(
            f"{architecture}: expected finite risks, found NaN or infinity for {len(bad)} of {len(risk)} patients: "
            f"{', '.join(bad[:5])}. Check their expression and covariates."
        )
    return risk
