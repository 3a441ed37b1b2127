"""The epochs of a network on the training patients of one fold: batches, losses, what is watched, the epoch chosen."""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from tta_pipeline.config import Train
from tta_pipeline.errors import DivergedError
from tta_pipeline.io.bags import Bag, Bags
from tta_pipeline.io.fold import Group
from tta_pipeline.models.batch import Batch, Output, RiskModel, Scaler, collate
from tta_pipeline.models.epoch import Epoch
from tta_pipeline.models.objective import Objective
from tta_pipeline.models.optimisation import clip_gradients, learning_rate_at, optimiser_of
from tta_pipeline.models.resume import Journal, Progress
from tta_pipeline.models.scoring import score
from tta_pipeline.models.search import Fit
from tta_pipeline.models.summaries import Read, reader
from tta_pipeline.numerics import discrete
from tta_pipeline.numerics.metrics import harrell_c
from tta_pipeline.numerics.sampling import stratified_batches, weighted_batches

log = logging.getLogger(__name__)

CHOSEN_ON = {"validation": "validation", "published": "test"}  # train.checkpoint -> the role whose loss chooses
_SHOWN = ("loss_", "rho", "train_", "validation_", "test_")  # columns of the history beside the progress bar


@dataclass(frozen=True)
class Data:
    """A fold as a network is trained on it.

    watched: patients scored after each epoch, by role; the test part only where a study asks for that. May be empty.
    edges: days, where the network asks for outcomes in time bins.
    summary: of a patient's whole bag, in place of drawn patches, where the network summarises bags.
    """

    train: Group
    watched: dict[str, Group]
    bags: Bags
    scaler: Scaler
    device: torch.device
    objective: Objective
    edges: NDArray[np.float64] | None = None
    summary: Read | None = None


def _fit_bags(network: RiskModel, data: Data, *, seed: int) -> None:
    def draw(patient_id: str, *, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
        bag = data.bags.draw(patient_id, count=count, generator=generator).astype(np.float32)
        if "feature_mean" not in data.scaler:
            return bag
        return (bag - data.scaler["feature_mean"]) / data.scaler["feature_scale"]

    network.fit_bags(draw, patient_id=data.train.patient_id, seed=seed)


def fit_epochs(network: RiskModel, data: Data, *, seed: int, config: Train, journal: Journal) -> Fit:
    """Train in place. The state is kept in the journal from time to time, and taken up from there."""
    optimiser = optimiser_of(network, config)
    progress = journal.load(network, optimiser)
    rows, done = progress.rows, len(progress.rows)
    if not rows:  # else the state holds what was fitted
        _fit_bags(network, data, seed=seed)
    if network.summarises:
        data = replace(data, summary=_reader(network, data))
    steps, saved = -(-len(data.train) // config.batch_size), time.monotonic()
    bar: tqdm[Any] = tqdm(total=config.epochs * steps, initial=done * steps, unit="step", disable=None)
    for epoch in range(done, config.epochs):
        row = _train_epoch(network, optimiser, data, seed=seed, epoch=epoch, config=config, bar=bar)
        for role, watched in data.watched.items():
            row |= _watch(network, data, watched, role=role) if len(watched) else {}
        rows.append(row)
        if config.checkpoint in CHOSEN_ON:
            _keep_best(progress, network, loss=row[f"{CHOSEN_ON[config.checkpoint]}_{data.objective.name}"])
        if journal.is_due(since_s=time.monotonic() - saved, at_end=epoch + 1 == config.epochs):
            journal.save(progress, network, optimiser)
            saved = time.monotonic()
        _report(bar, row, epoch=epoch + 1, epochs=config.epochs)
    bar.close()
    if progress.best is not None:
        network.load_state_dict(progress.best[2])
    columns = sorted({key for row in rows for key in row})
    history = {key: np.array([row.get(key, np.nan) for row in rows]) for key in columns}
    kept = progress.best[1] if progress.best else config.epochs
    return Fit(network, history, epoch=kept, epochs_run=config.epochs - done)


def _train_epoch(
    network: RiskModel,
    optimiser: torch.optim.Optimizer,
    data: Data,
    *,
    seed: int,
    epoch: int,
    config: Train,
    bar: "tqdm[Any]",
) -> dict[str, float]:
    """Steps over all training patients; their row of the history."""
    network.train()
    record, per_epoch = Epoch(), -(-len(data.train) // config.batch_size)
    for index, (members, batch) in enumerate(_batches(data, seed=seed, epoch=epoch, config=config)):
        step = epoch * per_epoch + index
        rate = config.learning_rate * learning_rate_at(
            step, steps=config.epochs * per_epoch, warmup_fraction=config.warmup_fraction, schedule=config.schedule
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        network.begin_step(step / per_epoch)
        output: Output = network(batch)
        losses = _losses(output, batch, group=data.train, members=members, objective=data.objective)
        optimiser.zero_grad(set_to_none=True)
        if losses:
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            clip_gradients(network, limit=config.gradient_clip)
            optimiser.step()
        record.add(members, output, losses, objective=data.objective.name, rate=rate)
        bar.update()
    if epoch + 1 < config.epochs:  # a head chosen after the last step would never have been trained by the loss
        network.end_epoch()
    return record.row() | _training_c(record, data)


def _keep_best(progress: Progress, network: RiskModel, *, loss: float) -> None:
    if progress.best is None or loss < progress.best[0]:
        weights = {key: value.detach().clone() for key, value in network.state_dict().items()}
        progress.best = loss, len(progress.rows), weights


def _batches(data: Data, *, seed: int, epoch: int, config: Train) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Batches of one epoch, with the rows of their patients; the next one is read while the current one is used."""
    generator = np.random.default_rng([seed, epoch])
    members = _members(data.train, generator=generator, config=config)
    generators = generator.spawn(len(members))

    def load(index: int) -> Batch:
        rows = members[index]
        names = [data.train.patient_id[row] for row in rows]
        bags, places = _drawn(data, names, count=config.patches, generator=generators[index])
        batch = collate(
            bags,
            data.train.expression[rows],
            patient_id=names,
            scaler=data.scaler,
            device=data.device,
            summarised=data.summary is not None,
            places=places,
        )
        return _with_outcomes(batch, data, rows=rows)

    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(load, 0)
        for index in range(len(members)):
            batch = coming.result()
            if index + 1 < len(members):
                coming = reader.submit(load, index + 1)
            yield members[index], batch


def _drawn(
    data: Data, names: Sequence[str], *, count: int, generator: np.random.Generator
) -> tuple[list[Bag], list[NDArray[np.float32]] | None]:
    """What the network reads of each patient, and the places of the same patches where it needs them."""
    if data.summary is not None:
        return [data.summary(one) for one in names], None
    rows = [data.bags.rows(one, count=count, generator=generator) for one in names]
    bags = [data.bags.read(one)[own] for one, own in zip(names, rows, strict=True)]
    if not data.bags.with_places:
        return bags, None
    return bags, [data.bags.places(one)[own] for one, own in zip(names, rows, strict=True)]


def _with_outcomes(batch: Batch, data: Data, *, rows: NDArray[np.int64]) -> Batch:
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
        raise DivergedError(
            f"expected finite log-risks, found NaN or infinity for {', '.join(bad[:5])}. "
            "Set train.standardise_features, or lower train.learning_rate."
        )
    event = torch.from_numpy(group.event[members]).to(output.scores.device)
    time_days = torch.from_numpy(group.time_days[members]).to(event.device)
    loss = objective.loss(output.scores, time_days=time_days, event=event)
    return output.losses if loss is None else {objective.name: loss} | output.losses


def _watch(network: RiskModel, data: Data, group: Group, *, role: str) -> dict[str, float]:
    """C-index and loss of patients that are not trained on, the loss where one of them has an event."""
    scores = score_group(network, data, group)
    row = {f"{role}_c_index": _c_index(data.objective.risk(scores), group)}
    loss = data.objective.loss(
        torch.from_numpy(scores), time_days=torch.from_numpy(group.time_days), event=torch.from_numpy(group.event)
    )
    return row if loss is None else row | {f"{role}_{data.objective.name}": float(loss)}


def score_group(network: RiskModel, data: Data, group: Group) -> NDArray[np.float64]:
    """Scores (patients, outputs) of whole bags, in evaluation mode, in the order of the group."""
    return score(
        network,
        data.summary or _reader(network, data),
        patient_id=group.patient_id,
        n_patches=group.n_patches.tolist(),
        expression=group.expression,
        scaler=data.scaler,
        device=data.device,
        places=data.bags.places if data.bags.with_places else None,
    )


def _reader(network: RiskModel, data: Data) -> Read:
    return reader(network, data.bags.read, scaler=data.scaler, device=data.device)


def _c_index(risk: NDArray[np.float64], group: Group) -> float:
    return harrell_c(risk=risk, time_days=group.time_days, event=group.event).value


def _training_c(record: Epoch, data: Data) -> dict[str, float]:
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
