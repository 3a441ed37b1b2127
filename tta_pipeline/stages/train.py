"""One model on one fold with one seed: everything that is fitted on patients is fitted here, on training patients."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from tta_pipeline import __version__
from tta_pipeline.config import BadSlides, Train, recipe_of
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, hdf5, study
from tta_pipeline.io.bags import Bags
from tta_pipeline.io.fold import Group, digests, require, select
from tta_pipeline.model_sections import Model, Tabular
from tta_pipeline.models import MODELS
from tta_pipeline.models.batch import Batch, Output, RiskModel, Scaler, collate
from tta_pipeline.models.device import device_named
from tta_pipeline.models.epoch import Epoch
from tta_pipeline.models.objective import Objective, fit_objective
from tta_pipeline.models.optimisation import learning_rate_at, optimiser_of
from tta_pipeline.models.resume import Journal
from tta_pipeline.models.scoring import score
from tta_pipeline.models.search import Fit, search
from tta_pipeline.numerics import discrete
from tta_pipeline.numerics.metrics import harrell_c
from tta_pipeline.numerics.sampling import stratified_batches, weighted_batches
from tta_pipeline.numerics.scaling import mean_and_scale
from tta_pipeline.stages import tabular

log = logging.getLogger(__name__)


_SHOWN = ("loss_", "rho", "train_", "validation_", "test_")  # columns of the history beside the progress bar
_CHOICE = {"validation": "validation", "published": "test"}  # train.checkpoint -> the role whose loss chooses


@dataclass(frozen=True)
class _Data:
    """`watched`: patients scored after each epoch, by role; the test part only where a study asks for that."""

    train: Group
    watched: dict[str, Group]
    bags: Bags
    scaler: Scaler
    device: torch.device
    objective: Objective
    edges: NDArray[np.float64] | None = None  # days, where the network asks for outcomes in time bins


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

    Raises
    ------
    InputError
        No events to learn from, no patients with events to choose by, inputs that do not belong together, patients
        that the model cannot take.
    """
    known = study.read_patients(patients=patients, slides=slides, manifests=manifests, bad_slides=bad_slides)
    genes = artifacts.read_pathways(pathways)
    sources = {"patients": patients, "slides": slides, "pathways": pathways, "splits": splits}
    common = config.model_dump(mode="json")
    which = {"name": name, "repeat": repeat, "fold": fold}
    if isinstance(model, Tabular):
        roles = {one: study.read_role(splits, repeat=repeat, fold=fold, role=one) for one in ("train", "validation")}
        fitted = tabular.fit(
            model, roles, patients=known, genes=genes, covariates=covariates, seed=seed, bad_slides=bad_slides
        )
        checkpoint = replace(fitted, attributes=fitted.attributes | which)
        sources |= {"covariates": covariates} if covariates is not None and model.needs_covariates else {}
        artifacts.write_checkpoint(out, checkpoint, options=common, inputs=sources)
        return
    config = recipe_of(model, config)
    read = ("train", "validation", *(["test"] if config.checkpoint == "published" else []))
    roles = {role: study.read_role(splits, repeat=repeat, fold=fold, role=role) for role in read}
    wanted = require([one for ids in roles.values() for one in ids], patients=known, bad_slides=bad_slides)
    bags = Bags(wanted, cache_gb=config.cache_gb, bad_slides=bad_slides)
    groups = {role: select(ids, patients=known, bags=bags, pathways=genes) for role, ids in roles.items()}
    _check(groups, config=config)
    scaler = _scaler(groups["train"], bags, standardise_features=config.standardise_features)
    watched = {role: group for role, group in groups.items() if role != "train" and len(group)}
    train = groups["train"]
    objective = fit_objective(config, time_days=train.time_days, event=train.event)
    device = device_named(config.device, key="train.device")
    data = _Data(train, watched, bags, scaler, device, objective)
    fingerprints = [hdf5.fingerprint(path) for path in [*sources.values(), *manifests]]
    journals: list[Journal] = []

    def fit(number: int, recipe: Train) -> Fit:
        torch.manual_seed(seed)
        network = MODELS[model.architecture](
            model, feature_dim=bags.width, pathways=genes.members(), outputs=objective.outputs
        ).to(data.device)
        for group in groups.values():
            network.check_patients(group.patient_id, n_patches=np.minimum(group.n_patches, recipe.patches).tolist())
        options = [one.model_dump(mode="json", exclude={"seeds"}) for one in (model, recipe)]
        made_from = {"version": __version__, "fit": [repeat, fold, seed, *options], "inputs": fingerprints}
        name = f"{out.name}.partial" if config.search is None else f"{out.name}.{number}.partial"
        journals.append(Journal(out.with_name(name), made_from=json.dumps(made_from, sort_keys=True)))
        binned = replace(data, edges=_edges(network, train))
        return Fit(network, *_fit(network, binned, seed=seed, config=recipe, journal=journals[-1]))

    chosen, kept, tried = search(config, fit, objective=objective.name)
    network, scores = kept.network, _score(kept.network, data, train)
    checkpoint = artifacts.Checkpoint(
        weights={key: value.cpu().numpy() for key, value in network.state_dict().items()},
        scaler=dict(scaler),
        baseline=objective.baseline(scores, time_days=train.time_days, event=train.event),
        history=kept.history,
        attributes={
            **which,
            "seed": seed,
            "model": model.model_dump(mode="json"),
            "feature_dim": bags.width,
            "epoch": kept.epoch,
            "chosen_on": _CHOICE.get(config.checkpoint, "last epoch"),
            "excluded": bags.excluded,
            "n_parameters": sum(one.numel() for one in network.parameters()),
            "train_risk_median": float(np.median(objective.risk(scores))),
            "recipe": chosen.model_dump(mode="json", exclude={"seeds"}),
            "search": tried,
            **{f"n_{role}": len(group) for role, group in groups.items()},
            **{f"n_{role}_events": int(group.event.sum()) for role, group in groups.items()},
            **digests(genes),
        },
    )
    artifacts.write_checkpoint(out, checkpoint, options=common, inputs=sources)
    for journal in journals:
        journal.remove()


def _check(groups: dict[str, Group], *, config: Train) -> None:
    train = groups["train"]
    if not train.event.any():
        raise InputError(f"expected events among the training patients, found none in {len(train)}. Check the splits.")
    if config.search is not None and not groups["validation"].event.any():
        raise InputError(
            f"train.search expects validation patients with events to choose by, found {len(groups['validation'])} "
            "patients and no event. Raise splits.validation_fraction, or leave train.search out."
        )
    role = _CHOICE.get(config.checkpoint)
    if role is not None and not groups[role].event.any():
        remedy = "Raise splits.validation_fraction, or set" if role == "validation" else "Draw other splits, or set"
        raise InputError(
            f"train.checkpoint: {config.checkpoint} expects {role} patients with events, found {len(groups[role])} "
            f"patients and no event. {remedy} train.checkpoint: last."
        )


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


def _fit_bags(network: RiskModel, data: _Data, *, seed: int) -> None:
    def draw(patient_id: str, *, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
        bag = data.bags.draw(patient_id, count=count, generator=generator).astype(np.float32)
        if "feature_mean" not in data.scaler:
            return bag
        return (bag - data.scaler["feature_mean"]) / data.scaler["feature_scale"]

    network.fit_bags(draw, patient_id=data.train.patient_id, seed=seed)


def _fit(
    network: RiskModel, data: _Data, *, seed: int, config: Train, journal: Journal
) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Train in place; the history by column, and the epoch (from 1) whose weights the network holds at the end.

    The state is kept in the journal after each epoch, and taken up from there.
    """
    criterion = f"{_CHOICE.get(config.checkpoint)}_{data.objective.name}"
    optimiser = optimiser_of(network, config)
    per_epoch = -(-len(data.train) // config.batch_size)
    progress = journal.load(network, optimiser)
    rows, done = progress.rows, len(progress.rows)
    if not rows:  # else the state holds what was fitted
        _fit_bags(network, data, seed=seed)
    bar: tqdm[Any] = tqdm(total=config.epochs * per_epoch, initial=done * per_epoch, unit="step", disable=None)
    for epoch in range(done, config.epochs):
        network.train()
        record = Epoch()
        for index, (members, batch) in enumerate(_batches(data, seed=seed, epoch=epoch, config=config)):
            step = epoch * per_epoch + index
            rate = config.learning_rate * learning_rate_at(
                step,
                steps=config.epochs * per_epoch,
                warmup_fraction=config.warmup_fraction,
                schedule=config.schedule,
            )
            for group in optimiser.param_groups:
                group["lr"] = rate
            network.begin_step(step / per_epoch)
            output: Output = network(batch)
            losses = _losses(output, batch, group=data.train, members=members, objective=data.objective)
            optimiser.zero_grad(set_to_none=True)
            if losses:
                torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip, error_if_nonfinite=True)
                optimiser.step()
            record.add(members, output, losses, objective=data.objective.name, rate=rate)
            bar.update()
        if epoch + 1 < config.epochs:  # a head chosen after the last step would never have been trained by the loss
            network.end_epoch()
        rows.append(record.row() | _training_c(record, data))
        for role, watched in data.watched.items():
            rows[-1] |= _watch(network, data, watched, role=role)
        if config.checkpoint in _CHOICE and (progress.best is None or rows[-1][criterion] < progress.best[0]):
            weights = {key: value.detach().clone() for key, value in network.state_dict().items()}
            progress.best = rows[-1][criterion], epoch + 1, weights
        journal.save(progress, network, optimiser)
        _report(bar, rows[-1], epoch=epoch + 1, epochs=config.epochs)
    bar.close()
    if progress.best is not None:
        network.load_state_dict(progress.best[2])
    columns = sorted({key for row in rows for key in row})
    history = {key: np.array([row.get(key, np.nan) for row in rows]) for key in columns}
    return history, progress.best[1] if progress.best else config.epochs


def _batches(data: _Data, *, seed: int, epoch: int, config: Train) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Batches of one epoch, with the rows of their patients; the next one is read while the current one is used."""
    generator = np.random.default_rng([seed, epoch])
    members = _members(data.train, generator=generator, config=config)
    generators = generator.spawn(len(members))

    def load(index: int) -> Batch:
        rows = members[index]
        names = [data.train.patient_id[row] for row in rows]
        drawn = [data.bags.draw(one, count=config.patches, generator=generators[index]) for one in names]
        batch = collate(drawn, data.train.expression[rows], patient_id=names, scaler=data.scaler, device=data.device)
        return _with_outcomes(batch, data, rows=rows)

    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(load, 0)
        for index in range(len(members)):
            batch = coming.result()
            if index + 1 < len(members):
                coming = reader.submit(load, index + 1)
            yield members[index], batch


def _with_outcomes(batch: Batch, data: _Data, *, rows: NDArray[np.int64]) -> Batch:
    if data.edges is None:
        return batch
    time_bin = discrete.time_bin(data.train.time_days[rows], edges=data.edges)
    event = torch.from_numpy(data.train.event[rows])
    return replace(batch, event=event, time_bin=torch.from_numpy(time_bin)).to(data.device)


def _members(train: Group, *, generator: np.random.Generator, config: Train) -> list[NDArray[np.int64]]:
    if config.sampling == "stratified":
        return stratified_batches(train.event, batch_size=config.batch_size, generator=generator)
    edges = discrete.event_time_edges(train.time_days, event=train.event, bins=config.bins)
    kind = 2 * discrete.time_bin(train.time_days, edges=edges) + train.event
    return weighted_batches(kind, batch_size=config.batch_size, generator=generator)


def _losses(
    output: Output, batch: Batch, *, group: Group, members: NDArray[np.int64], objective: Objective
) -> dict[str, Tensor]:
    """The objective's term, where the batch defines it, and the model's own terms."""
    finite = output.scores.isfinite().all(dim=1)
    if not bool(finite.all()):
        bad = [one for one, fine in zip(batch.patient_id, finite.tolist(), strict=True) if not fine]
        raise InputError(
            f"expected finite log-risks, found NaN or infinity for {', '.join(bad[:5])}. "
            "Set train.standardise_features, or lower train.learning_rate."
        )
    event = torch.from_numpy(group.event[members]).to(output.scores.device)
    time_days = torch.from_numpy(group.time_days[members]).to(event.device)
    loss = objective.loss(output.scores, time_days=time_days, event=event)
    return output.losses if loss is None else {objective.name: loss} | output.losses


def _watch(network: RiskModel, data: _Data, group: Group, *, role: str) -> dict[str, float]:
    """C-index and loss of patients that are not trained on, the loss where one of them has an event."""
    scores = _score(network, data, group)
    row = {f"{role}_c_index": _c_index(data.objective.risk(scores), group)}
    loss = data.objective.loss(
        torch.from_numpy(scores), time_days=torch.from_numpy(group.time_days), event=torch.from_numpy(group.event)
    )
    return row if loss is None else row | {f"{role}_{data.objective.name}": float(loss)}


def _score(network: RiskModel, data: _Data, group: Group) -> NDArray[np.float64]:
    return score(
        network,
        data.bags.read,
        patient_id=group.patient_id,
        n_patches=group.n_patches.tolist(),
        expression=group.expression,
        scaler=data.scaler,
        device=data.device,
    )


def _c_index(risk: NDArray[np.float64], group: Group) -> float:
    return harrell_c(risk=risk, time_days=group.time_days, event=group.event).value


def _training_c(record: Epoch, data: _Data) -> dict[str, float]:
    """C of the risks that the steps gave, with drawn patches and dropout, of the patients who were drawn."""
    rows, group = np.array(sorted(record.scores)), data.train
    risk = data.objective.risk(np.stack([record.scores[row] for row in rows]))
    c = harrell_c(risk=risk, time_days=group.time_days[rows], event=group.event[rows])
    return {"train_c_index": c.value}


def _report(bar: "tqdm[Any]", row: dict[str, float], *, epoch: int, epochs: int) -> None:
    shown = {key: f"{row[key]:.3f}" for key in sorted(row) if key.startswith(_SHOWN)}
    bar.set_postfix(shown)
    if bar.disable:
        log.info("epoch %d/%d %s", epoch, epochs, " ".join(f"{key}={value}" for key, value in shown.items()))
