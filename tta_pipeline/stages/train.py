"""One model on one fold with one seed: everything that is fitted on patients is fitted here, on training patients."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tta_pipeline import __version__
from tta_pipeline.config import BadSlides, Train, recipe_of
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, hdf5, study
from tta_pipeline.io.bags import Bags
from tta_pipeline.io.fold import Group, digests, require, select
from tta_pipeline.io.risks import Given, inner_folds
from tta_pipeline.model_sections import Architecture, Model, Stacked, Tabular
from tta_pipeline.models import MODELS
from tta_pipeline.models.batch import RiskModel, Scaler
from tta_pipeline.models.device import device_named, fast_products
from tta_pipeline.models.objective import Objective, fit_objective
from tta_pipeline.models.resume import FORMAT, Journal, remove_states, state_file
from tta_pipeline.models.search import Fit, search
from tta_pipeline.numerics import discrete
from tta_pipeline.numerics.scaling import mean_and_scale
from tta_pipeline.stages import tabular
from tta_pipeline.stages.training import CHOSEN_ON, Data, fit_epochs, score_group


def run(
    *,
    patients: Path,
    slides: Path,
    manifests: list[Path],
    pathways: Path,
    splits: Path,
    repeat: int,
    fold: int,
    seed: int,
    name: str,
    out: Path,
    model: Model,
    config: Train,
    bad_slides: BadSlides,
    covariates: Path | None = None,
    inner_splits: Path | None = None,
    risks: list[Path] = [],  # noqa: B006 (read only; the command line reads the type)
) -> None:
    """Train one model on the training patients of one fold, and write it with everything that was fitted.

    Test patients take no part: their feature files are not opened, their outcomes and expression not used. The one
    exception is `checkpoint: published`, which chooses the epoch by them and says so in the artifact (`chosen_on`).
    Where the recipe has a `search`, every combination has a state of its own on disk until the artifact is written: a
    job that was killed takes up the finished ones whole.
    A model that is no network is fitted without opening any feature file, and takes nothing of `config`.

    Parameters
    ----------
    patients, slides
        Tables of the cohort stage.
    manifests
        Manifests of the features jobs; none where the slides table names ready-made features.
    pathways, splits
        Artifacts of those stages.
    repeat, fold, seed
        Which split, and the seed of weights, batches, drawn patches and dropout.
    name
        The model's name in the study.
    out
        The artifact to write.
    model
        The model's section.
    config
        Options of the training.
    bad_slides
        What happens to a feature file that cannot be used.
    covariates
        Table of the cohort stage, for a model that needs it.
    inner_splits, risks
        Splits inside of the training parts, and artifacts of the evaluate stage of its folds within this one: of the
        models that a model with `risks_of` names.

    Raises
    ------
    InputError
        No events to learn from, no patients with events to choose by, inputs that do not belong together, patients
        that the model cannot take.
    """
    known = study.read_patients(patients=patients, slides=slides, manifests=manifests, bad_slides=bad_slides)
    genes = artifacts.read_pathways(pathways)
    sources = {"patients": patients, "slides": slides, "pathways": pathways, "splits": splits}
    if isinstance(model, Tabular):
        given = None
        if isinstance(model, Stacked) and inner_splits is not None:
            folds = inner_folds(inner_splits, splits=splits, repeat=repeat, fold=fold)
            given = Given(risks, inner_splits, folds)
            sources |= {
                "inner_splits": inner_splits,
                **{f"risks {path.parent.name} {path.stem}": path for path in risks},
            }
        roles = {one: study.read_role(splits, repeat=repeat, fold=fold, role=one) for one in ("train", "validation")}
        fitted = tabular.fit(
            model,
            roles,
            patients=known,
            genes=genes,
            covariates=covariates,
            risks=given,
            repeat=repeat,
            seed=seed,
            bad_slides=bad_slides,
        )
        sources |= {"covariates": covariates} if covariates is not None and model.needs_covariates else {}
    else:
        recipe = recipe_of(model, config)
        data = _read(
            known,
            genes,
            splits=splits,
            repeat=repeat,
            fold=fold,
            config=recipe,
            bad_slides=bad_slides,
            with_places=MODELS[model.architecture].needs_places,
        )
        fingerprints = [hdf5.fingerprint(path) for path in [*sources.values(), *manifests]]
        made_from = {
            "code": [__version__, FORMAT, torch.__version__, data.device.type],
            "fit": [repeat, fold, seed],
            "inputs": fingerprints,
        }

        def journal(number: int, options: list[dict[str, Any]]) -> Journal:
            state = state_file(out, number=None if recipe.search is None else number)
            known = json.dumps(made_from | {"options": options}, sort_keys=True)
            return Journal(state, made_from=known, keeps_end=recipe.search is not None)

        with fast_products(data.device):
            fitted = _fit_network(model, data, genes, seed=seed, config=recipe, journal=journal)
    checkpoint = replace(fitted, attributes=fitted.attributes | {"name": name, "repeat": repeat, "fold": fold})
    artifacts.write_checkpoint(out, checkpoint, options=config.model_dump(mode="json"), inputs=sources)
    remove_states(out)


def _read(
    known: dict[str, study.Patient],
    genes: artifacts.Pathways,
    *,
    splits: Path,
    repeat: int,
    fold: int,
    config: Train,
    bad_slides: BadSlides,
    with_places: bool,
) -> Data:
    """Patients of each part that the recipe reads, and what is fitted on the training part for any network."""
    read = ("train", "validation", *(["test"] if config.checkpoint == "published" else []))
    roles = {role: study.read_role(splits, repeat=repeat, fold=fold, role=role) for role in read}
    wanted = require([one for ids in roles.values() for one in ids], patients=known, bad_slides=bad_slides)
    bags = Bags(wanted, cache_gb=config.cache_gb, bad_slides=bad_slides, with_places=with_places)
    groups = {role: select(ids, patients=known, bags=bags, pathways=genes) for role, ids in roles.items()}
    _check(groups, config=config)
    train = groups.pop("train")
    data = Data(
        train=train,
        watched=groups,
        bags=bags,
        scaler=_scaler(train, bags, standardise_features=config.standardise_features),
        device=device_named(config.device, key="train.device"),
        objective=fit_objective(config, time_days=train.time_days, event=train.event),
    )
    _check_loss(data, config=config)
    return data


def _fit_network(
    model: Architecture,
    data: Data,
    genes: artifacts.Pathways,
    *,
    seed: int,
    config: Train,
    journal: Callable[[int, list[dict[str, Any]]], Journal],
) -> artifacts.Checkpoint:
    """Train by the recipe, or by each combination of its search, and gather what evaluation needs.

    `journal`: number of a combination and the options that make it -> where its state is kept.
    """
    groups, train, objective = {"train": data.train} | data.watched, data.train, data.objective
    run: list[int] = []

    def fit(number: int, recipe: Train) -> Fit:
        torch.manual_seed(seed)
        network = MODELS[model.architecture](
            model, feature_dim=data.bags.width, pathways=genes.members(), outputs=objective.outputs
        ).to(data.device)
        for group in groups.values():
            network.check_patients(group.patient_id, n_patches=np.minimum(group.n_patches, recipe.patches).tolist())
        kept = journal(number, [one.model_dump(mode="json", exclude={"seeds"}) for one in (model, recipe)])
        binned = replace(data, edges=_edges(network, train))
        fitted = fit_epochs(network, binned, seed=seed, config=recipe, journal=kept)
        run.append(fitted.epochs_run)
        return fitted

    chosen, kept, tried = search(config, fit, objective=objective.name)
    network, scores = kept.network, score_group(kept.network, data, train)
    return artifacts.Checkpoint(
        weights={key: value.cpu().numpy() for key, value in network.state_dict().items()},
        scaler=dict(data.scaler),
        baseline=objective.baseline(scores, time_days=train.time_days, event=train.event),
        history=kept.history,
        attributes={
            "seed": seed,
            "model": model.model_dump(mode="json"),
            "feature_dim": data.bags.width,
            "epoch": kept.epoch,
            "chosen_on": CHOSEN_ON.get(config.checkpoint, "last epoch"),
            "excluded": data.bags.excluded,
            "n_parameters": sum(one.numel() for one in network.parameters()),
            "train_risk_median": float(np.median(objective.risk(scores))),
            "recipe": chosen.model_dump(mode="json", exclude={"seeds"}),
            "search": tried,
            "epochs_run": sum(run),
            **{f"n_{role}": len(group) for role, group in groups.items()},
            **{f"n_{role}_events": int(group.event.sum()) for role, group in groups.items()},
            **digests(genes),
        },
    )


def _check(groups: dict[str, Group], *, config: Train) -> None:
    train = groups["train"]
    if not train.event.any():
        raise InputError(f"expected events among the training patients, found none in {len(train)}. Check the splits.")
    if config.search is not None and not groups["validation"].event.any():
        raise InputError(
            f"train.search expects validation patients with events to choose by, found {len(groups['validation'])} "
            "patients and no event. Raise splits.validation_fraction, or leave train.search out."
        )
    role = CHOSEN_ON.get(config.checkpoint)
    if role is not None and not groups[role].event.any():
        remedy = "Raise splits.validation_fraction, or set" if role == "validation" else "Draw other splits, or set"
        raise InputError(
            f"train.checkpoint: {config.checkpoint} expects {role} patients with events, found {len(groups[role])} "
            f"patients and no event. {remedy} train.checkpoint: last."
        )


def _check_loss(data: Data, *, config: Train) -> None:
    """Refuse a loss that is undefined for all training patients, or for those by whom the epoch is chosen."""
    name = data.objective.name
    if not _defined(data.objective, data.train):
        raise InputError(
            f"train.loss: {name} expects training patients of whom one had the event before another left, found none "
            f"among {len(data.train)}. Check the times, or take train.loss: nll."
        )
    role = CHOSEN_ON.get(config.checkpoint)
    if role is not None and not _defined(data.objective, data.watched[role]):
        raise InputError(
            f"train.checkpoint: {config.checkpoint} expects {role} patients whom train.loss: {name} can compare, found "
            f"none among {len(data.watched[role])}. Set train.checkpoint: last, or take another loss."
        )


def _defined(objective: Objective, group: Group) -> bool:
    times, event = torch.from_numpy(group.time_days), torch.from_numpy(group.event)
    return objective.loss(torch.zeros(len(group), objective.outputs), time_days=times, event=event) is not None


def _scaler(train: Group, bags: Bags, *, standardise_features: bool) -> Scaler:
    mean, scale = mean_and_scale([train.expression])
    scaler = {"gene_mean": mean, "gene_scale": scale}
    if standardise_features:
        mean, scale = mean_and_scale(bags.read(one) for one in train.patient_id)
        scaler |= {"feature_mean": mean, "feature_scale": scale}
    return scaler


def _edges(network: RiskModel, train: Group) -> NDArray[np.float64] | None:
    bins = network.outcome_bins
    if bins is None:
        return None
    return discrete.event_time_edges(train.time_days, event=train.event, bins=bins, key="the model's bins")
