"""Risks of the test patients of one fold, from all their patches."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from tta_pipeline.config import BadSlides, Evaluate, Model, describe
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, hdf5, study
from tta_pipeline.io.bags import Bags
from tta_pipeline.io.fold import digests, require, select
from tta_pipeline.models import MODELS
from tta_pipeline.models.batch import RiskModel
from tta_pipeline.models.device import device_named
from tta_pipeline.models.scoring import score
from tta_pipeline.numerics.survival import survival_at

_CARRIED = ("name", "repeat", "fold", "seed", "epoch", "chosen_on", "n_train", "n_train_events", "n_validation")


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

    Raises
    ------
    InputError
        No test patients, splits, genes, pathways or features other than those that the model was trained on, weights
        that are not of the model's own section, or patients that the model cannot take.
    """
    checkpoint = artifacts.read_checkpoint(trained)
    _check_splits(splits, trained=trained)
    attributes = checkpoint.attributes
    known = study.read_patients(patients=patients, slides=slides, manifests=manifests, bad_slides=bad_slides)
    ids = study.read_role(splits, repeat=attributes["repeat"], fold=attributes["fold"], role="test")
    genes = artifacts.read_pathways(pathways)
    _check_genes(genes, attributes, trained=trained, pathways=pathways)
    if not ids:
        raise InputError(
            f"{splits}: expected test patients in repeat {attributes['repeat']}, fold {attributes['fold']}, found none."
        )
    wanted = require(ids, patients=known, bad_slides=bad_slides)
    bags = Bags(wanted, cache_gb=config.cache_gb, bad_slides=bad_slides)
    if bags.width != attributes["feature_dim"]:
        raise InputError(
            f"{slides}: expected features of width {attributes['feature_dim']}, as {trained} was trained on, "
            f"found width {bags.width}. Extract them with the same encoder."
        )
    test = select(ids, patients=known, bags=bags, pathways=genes)
    device = device_named(config.device, key="evaluate.device")
    network = _restore(checkpoint, genes, trained=trained).to(device)
    n_patches = np.minimum(test.n_patches, config.max_patches).tolist()
    network.check_patients(test.patient_id, n_patches=n_patches)

    def read(patient_id: str) -> NDArray[np.floating[Any]]:
        generator = np.random.default_rng([config.seed, zlib.crc32(patient_id.encode())])
        return bags.draw(patient_id, count=config.max_patches, generator=generator)

    risk = score(
        network,
        read,
        patient_id=test.patient_id,
        n_patches=n_patches,
        expression=test.expression,
        scaler=checkpoint.scaler,
        device=device,
    )
    horizons = np.array(config.horizons_days, dtype=np.float64)
    times, hazard = checkpoint.baseline["time_days"], checkpoint.baseline["cumulative_hazard"]
    survival = survival_at(horizons, log_risk=risk, times=times, cumulative_hazard=hazard)
    predictions = artifacts.Predictions(
        patient_id=test.patient_id,
        risk=risk,
        time_days=test.time_days,
        event=test.event,
        survival=survival.astype(np.float32),
        horizons_days=horizons,
        attributes={key: attributes[key] for key in _CARRIED} | {"excluded": bags.excluded},
    )
    sources = {"trained": trained, "patients": patients, "slides": slides, "pathways": pathways, "splits": splits}
    artifacts.write_predictions(out, predictions, options=config.model_dump(mode="json"), inputs=sources)


def _restore(checkpoint: artifacts.Checkpoint, genes: artifacts.Pathways, *, trained: Path) -> RiskModel:
    try:
        options: Model = TypeAdapter(Model).validate_python(checkpoint.attributes["model"])
    except ValidationError as error:
        raise InputError(describe(error, where=f"{trained}: the model's section")) from error
    network = MODELS[options.architecture](
        options, feature_dim=checkpoint.attributes["feature_dim"], pathways=genes.members()
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
