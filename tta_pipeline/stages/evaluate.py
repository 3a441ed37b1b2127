"""Risks of the test patients of one fold, from all their patches."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from tta_pipeline.config import BadSlides, Evaluate, Train, describe
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, hdf5, study
from tta_pipeline.io.bags import Bag, Bags, Rows
from tta_pipeline.io.fold import Group, digests, require, select
from tta_pipeline.io.risks import Given
from tta_pipeline.model_sections import Architecture, Model, Stacked, Tabular
from tta_pipeline.models import MODELS
from tta_pipeline.models.batch import RiskModel, Scaler
from tta_pipeline.models.device import device_named, fast_products
from tta_pipeline.models.objective import Objective, restore_objective
from tta_pipeline.models.scoring import score
from tta_pipeline.models.summaries import Read, reader
from tta_pipeline.numerics.modalities import partners
from tta_pipeline.numerics.survival import curve_times
from tta_pipeline.stages import tabular

Floats = NDArray[np.float64]
_CARRIED = (
    "name", "repeat", "fold", "seed", "epoch", "chosen_on", "reason", "n_train", "n_train_events", "n_validation",
    "train_risk_median",
)  # fmt: skip


def run(
    *,
    trained: Path,
    patients: Path,
    slides: Path,
    manifests: list[Path],
    pathways: Path,
    splits: Path,
    out: Path,
    config: Evaluate,
    bad_slides: BadSlides,
    covariates: Path | None = None,
    risks: list[Path] = [],  # noqa: B006 (read only; the command line reads the type)
) -> None:
    """Compute risk and survival of the test patients of the fold that a model was trained on.

    Parameters
    ----------
    trained
        Artifact of the train stage; it says which repeat, fold and seed.
    patients, slides, manifests, pathways, splits
        As for the train stage.
    out
        The artifact to write.
    config
        Options of the evaluation.
    bad_slides
        What happens to a feature file that cannot be used.
    covariates
        Table of the cohort stage, for a model that needs it.
    risks
        Artifacts of this stage, of the same fold and seed, of the models that a model with `risks_of` names.

    Raises
    ------
    InputError
        No test patients, splits, genes, pathways or features other than those that the model was trained on, weights
        that are not of the model's own section, or patients that the model cannot take.
    """
    checkpoint = artifacts.read_checkpoint(trained)
    _check_splits(splits, trained=trained)
    attributes = checkpoint.attributes
    model = _section(attributes, trained=trained)
    if not isinstance(model, Tabular) and "recipe" not in attributes:
        raise InputError(
            f"{trained}: expected the recipe of its training, found none: it is of an older version. Train again."
        )
    known = study.read_patients(patients=patients, slides=slides, manifests=manifests, bad_slides=bad_slides)
    ids = study.read_role(splits, repeat=attributes["repeat"], fold=attributes["fold"], role="test")
    genes = artifacts.read_pathways(pathways)
    _check_genes(genes, attributes, trained=trained, pathways=pathways)
    if not ids:
        raise InputError(
            f"{splits}: expected test patients in repeat {attributes['repeat']}, fold {attributes['fold']}, found none."
        )
    wanted = require(ids, patients=known, bad_slides=bad_slides)
    sources = {"trained": trained, "patients": patients, "slides": slides, "pathways": pathways, "splits": splits}
    if isinstance(model, Tabular):
        test = select(ids, patients=known, bags=None, pathways=genes)
        given = None
        if isinstance(model, Stacked):
            given = Given(risks, splits, [attributes["fold"]])
            sources |= {f"risks {path.parent.name} {path.stem}": path for path in risks}
        found = tabular.predict(model, checkpoint, test, genes=genes, covariates=covariates, risks=given, config=config)
        excluded: dict[str, str] = {}
        sources |= {"covariates": covariates} if covariates is not None and model.needs_covariates else {}
    else:
        with_places = MODELS[model.architecture].needs_places
        bags = Bags(wanted, cache_gb=config.cache_gb, bad_slides=bad_slides, with_places=with_places)
        _check_width(bags, attributes, trained=trained, slides=slides)
        test = select(ids, patients=known, bags=bags, pathways=genes)
        found = _by_network(model, checkpoint, test, bags=bags, genes=genes, trained=trained, config=config)
        excluded = bags.excluded
    predictions = artifacts.Predictions(
        patient_id=test.patient_id,
        time_days=test.time_days,
        event=test.event,
        **found,
        attributes={key: attributes[key] for key in _CARRIED if key in attributes} | {"excluded": excluded},
    )
    artifacts.write_predictions(out, predictions, options=config.model_dump(mode="json"), inputs=sources)


def _by_network(
    model: Architecture,
    checkpoint: artifacts.Checkpoint,
    test: Group,
    *,
    bags: Bags,
    genes: artifacts.Pathways,
    trained: Path,
    config: Evaluate,
) -> dict[str, Any]:
    """Risk, survival and risks with another patient's modality, by the names of the predictions artifact."""
    device = device_named(config.device, key="evaluate.device")
    objective = restore_objective(Train.model_validate(checkpoint.attributes["recipe"]), checkpoint.baseline)
    network = _restore(model, checkpoint, genes, outputs=objective.outputs, trained=trained).to(device)
    network.check_patients(test.patient_id, n_patches=np.minimum(test.n_patches, config.max_patches).tolist())

    def rows(patient_id: str) -> Rows:
        generator = np.random.default_rng([config.seed, zlib.crc32(patient_id.encode())])
        return bags.rows(patient_id, count=config.max_patches, generator=generator)

    def bag(patient_id: str) -> Bag:
        return bags.read(patient_id)[rows(patient_id)]

    def places(patient_id: str) -> NDArray[np.float32]:
        return bags.places(patient_id)[rows(patient_id)]

    scoring = _Scoring(
        network,
        objective,
        test=test,
        read=reader(network, bag, scaler=checkpoint.scaler, device=device),
        places=places if bags.with_places else None,
        scaler=checkpoint.scaler,
        device=device,
        config=config,
    )
    with fast_products(device):
        scores, exchanged = scoring.scores(), scoring.exchanged()
    return {
        "risk": objective.risk(scores),
        **_survival(scores, checkpoint, objective, horizons_days=np.array(config.horizons_days, dtype=np.float64)),
        "exchanged": exchanged,
    }


@dataclass(frozen=True)
class _Scoring:
    """A trained model and the test patients that it scores.

    read: what the model reads of a patient's bag. places: of the same patches, for a model that needs them.
    """

    network: RiskModel
    objective: Objective
    test: Group
    read: Read
    places: Callable[[str], NDArray[np.float32]] | None
    scaler: Scaler
    device: torch.device
    config: Evaluate

    def scores(
        self, *, histology: NDArray[np.int64] | None = None, genomics: NDArray[np.int64] | None = None
    ) -> Floats:
        """(patients, outputs); `histology` and `genomics` name the row of the patient whose modality is taken."""
        own = np.arange(len(self.test))
        bags_of, genes_of = own if histology is None else histology, own if genomics is None else genomics
        owner_of = dict(zip(self.test.patient_id, (self.test.patient_id[row] for row in bags_of), strict=True))
        places = self.places
        return score(
            self.network,
            lambda patient_id: self.read(owner_of[patient_id]),
            patient_id=self.test.patient_id,
            n_patches=np.minimum(self.test.n_patches, self.config.max_patches)[bags_of].tolist(),
            expression=self.test.expression[genes_of],
            scaler=self.scaler,
            device=self.device,
            places=None if places is None else lambda patient_id: places(owner_of[patient_id]),
        )

    def exchanged(self) -> dict[str, Floats]:
        """Modality -> (draws, patients): no modality of a model that has one alone, no draw for one test patient."""
        if len(self.network.modalities) < 2:
            return {}
        patients = len(self.test)
        draws = self.config.exchanges if patients > 1 else 0
        generator = np.random.default_rng([self.config.seed, patients])
        drawn = [partners(patients, generator=generator) for _ in range(draws)]
        return {
            name: np.array([self.objective.risk(self.scores(**{name: rows})) for rows in drawn]).reshape(
                draws, patients
            )
            for name in self.network.modalities
        }


def _survival(
    scores: Floats, checkpoint: artifacts.Checkpoint, objective: Objective, *, horizons_days: Floats
) -> dict[str, NDArray[Any]]:
    """Survival at the horizons, and at times between which equally many training patients were last seen."""
    baseline = checkpoint.baseline
    curve_days = curve_times(baseline["time_days"])
    at = {"survival": horizons_days, "curves": curve_days}
    estimates = {
        name: objective.survival(days, scores=scores, baseline=baseline).astype(np.float32) for name, days in at.items()
    }
    return {**estimates, "horizons_days": horizons_days, "curve_days": curve_days}


def _section(attributes: dict[str, Any], *, trained: Path) -> Architecture | Tabular:
    """The section of the config that the model was trained with."""
    try:
        section: Architecture | Tabular = TypeAdapter(Model).validate_python(attributes["model"])
    except ValidationError as error:
        raise InputError(describe(error, where=f"{trained}: the model's section")) from error
    return section


def _restore(
    options: Architecture, checkpoint: artifacts.Checkpoint, genes: artifacts.Pathways, *, outputs: int, trained: Path
) -> RiskModel:
    network = MODELS[options.architecture](
        options, feature_dim=checkpoint.attributes["feature_dim"], pathways=genes.members(), outputs=outputs
    )
    weights = {key: torch.from_numpy(np.asarray(value)) for key, value in checkpoint.weights.items()}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{trained}: expected the weights of the model that its own section describes, found others: {error} "
            "Train again."
        ) from error
    return network


def _check_width(bags: Bags, attributes: dict[str, Any], *, trained: Path, slides: Path) -> None:
    if bags.width != attributes["feature_dim"]:
        raise InputError(
            f"{slides}: expected features of width {attributes['feature_dim']}, as {trained} was trained on, "
            f"found width {bags.width}. Extract them with the same encoder."
        )


def _check_splits(splits: Path, *, trained: Path) -> None:
    """Under other splits, patients that the model was trained on may stand in the test part."""
    if hdf5.read_origin(trained).inputs.get("splits") != hdf5.fingerprint(splits):
        raise InputError(
            f"{splits}: expected the splits that {trained} was trained on, found others, whose test patients it may "
            "know. Train again, or give the splits of that training."
        )


def _check_genes(genes: artifacts.Pathways, attributes: dict[str, Any], *, trained: Path, pathways: Path) -> None:
    for key, found in digests(genes).items():
        if attributes[key] != found:
            raise InputError(
                f"{pathways}: expected the {key} that {trained} was trained on, found others, or in another order. "
                "Train again, or give the pathways artifact of that training."
            )
