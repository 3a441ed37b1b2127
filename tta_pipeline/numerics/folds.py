"""Parts of a cohort with equal shares of events, early and late, never cutting through a group of patients."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import InputError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# Weight of the balance of times beside that of events. Single patients can be balanced in both: times decide between
# parts that are equal in events. Groups cannot.
_TIME_WEIGHT_SINGLE, _TIME_WEIGHT_GROUPS = 0.02, 0.1


def draw_roles(
    *,
    event: NDArray[np.bool_],
    time_days: NDArray[np.float64],
    group: NDArray[np.int64] | None,
    folds: int,
    validation_fraction: float,
    seed: Sequence[int],
) -> list[NDArray[np.str_]]:
    """Role of each patient in each fold of one repeat of k-fold cross-validation.

    Every patient is tested in exactly one fold. Of the others, `validation_fraction` validates. Test parts and
    validation parts hold their share of the events and of the patients without event, early and late
    ones; of groups as far as they allow.

    Parameters
    ----------
    event
        (patients,), True where the event was observed. The draw depends on the order of the patients.
    time_days
        (patients,), time of event or censoring.
    group
        (patients,), number of each patient's group (site), which then has one role per fold; None lets patients
        be drawn one by one.
    folds
        Number of test parts, at least 2.
    validation_fraction
        In [0, 1); 0 gives no validation part.
    seed
        Entropy of the draw: the seed and the number of the repeat.

    Returns
    -------
    list of (patients,) arrays, one per fold
        "train", "validation" or "test".

    Raises
    ------
    InputError
        Too few patients, events or groups for a part each, as `partition`.
    """
    group = np.arange(len(event)) if group is None else group
    test_part = partition(
        event=event, time_days=time_days, group=group, shares=np.full(folds, 1 / folds), seed=[*seed, 0]
    )
    roles = []
    for fold in range(folds):
        rest = np.flatnonzero(test_part != fold)
        role = np.full(len(event), TRAIN, dtype="<U10")
        role[test_part == fold] = TEST
        if validation_fraction > 0:
            shares = np.array([1 - validation_fraction, validation_fraction])
            inner = partition(
                event=event[rest], time_days=time_days[rest], group=group[rest], shares=shares, seed=[*seed, 1 + fold]
            )
            role[rest[inner == 1]] = VALIDATION
        roles.append(role)
    return roles


def partition(
    *,
    event: NDArray[np.bool_],
    time_days: NDArray[np.float64],
    group: NDArray[np.int64],
    shares: NDArray[np.float64],
    seed: Sequence[int],
    draws: int = 50,
) -> NDArray[np.int64]:
    """Part of each patient, such that every part holds an event and about its share of both kinds of patients.

    Minimises, greedily, the imbalance sum_k c_k sum_p share_p (n_pk / (share_p n_k) - 1)^2 over parts p and the
    kinds k of patients, n counting patients: with and without event (c = 1), and each of these before and after its
    median time (c below 1: events come first). Groups come in random order, drawn without
    replacement in proportion to their size: the first that hold an event go to one part each, every other to the
    part where it costs least. Of `draws` orders the one that shares out events best is taken. Where each patient is a
    group of its own, one order is enough: each n_pk of the kinds with c = 1 is then within 1 of its share.

    Parameters
    ----------
    event
        (patients,), True where the event was observed.
    time_days
        (patients,), time of event or censoring.
    group
        (patients,), number of each patient's group; a group is never cut.
    shares
        (parts,), positive, of sum 1.
    seed
        Entropy of the random orders.
    draws
        Random orders tried.

    Returns
    -------
    (patients,) int64 in [0, parts)

    Raises
    ------
    InputError
        Fewer patients, events, groups, or groups with events than parts.
    """
    _, member = np.unique(group, return_inverse=True)
    n_groups = int(member.max(initial=-1)) + 1
    kinds = [event, ~event, *_early_and_late(event, time_days), *_early_and_late(~event, time_days)]
    counts = np.stack([np.bincount(member[kind], minlength=n_groups) for kind in kinds], axis=1)  # (groups, kinds)
    _check_enough(counts, n_patients=len(event), parts=len(shares))
    single = len(counts) == len(event)
    weights = counts / np.maximum(counts.sum(axis=0), 1)  # each kind sums to 1, or is absent
    weights[:, 2:] *= np.sqrt(_TIME_WEIGHT_SINGLE if single else _TIME_WEIGHT_GROUPS)
    rng = np.random.default_rng(list(seed))
    draws = 1 if single else draws
    candidates = [_greedy(weights, shares=shares, rng=rng) for _ in range(draws)]
    best = min(candidates, key=lambda part: _imbalance(weights[:, :2], part=part, shares=shares))
    return best[member]


def _early_and_late(kind: NDArray[np.bool_], time_days: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    late = time_days > np.median(time_days[kind]) if kind.any() else np.zeros(len(kind), dtype=bool)
    return [kind & ~late, kind & late]


def _greedy(
    weights: NDArray[np.float64], *, shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    order = np.argsort(
        rng.exponential(size=len(weights)) / weights[:, :2].sum(axis=1)
    )  # large groups tend to come first
    with_event = order[weights[order, 0] > 0]
    first = with_event[: len(shares)]
    part = np.zeros(len(weights), dtype=np.int64)
    part[first] = rng.permutation(len(shares))
    filled = np.zeros((len(shares), weights.shape[1]))
    filled[part[first]] += weights[first]
    for index in order[~np.isin(order, first)]:
        # (f + w)^2 / s - f^2 / s, in order of the imbalance's growth
        growth = (weights[index] * (2 * filled + weights[index])).sum(axis=1) / shares
        ties = np.flatnonzero(growth <= growth.min() * (1 + 1e-9))
        part[index] = ties[np.argmin(filled[ties, :2].sum(axis=1) / shares[ties])]
        filled[part[index]] += weights[index]
    return part


def _imbalance(weights: NDArray[np.float64], *, part: NDArray[np.int64], shares: NDArray[np.float64]) -> float:
    filled = np.zeros((len(shares), weights.shape[1]))
    np.add.at(filled, part, weights)
    return float((shares[:, None] * (filled / shares[:, None] - 1) ** 2).sum())


def _check_enough(counts: NDArray[np.int64], *, n_patients: int, parts: int) -> None:
    found = {
        "patients": n_patients,
        "events": int(counts[:, 0].sum()),
        "groups (sites)": len(counts),
        "groups (sites) with an event": int((counts[:, 0] > 0).sum()),
    }
    for what, number in found.items():
        if number < parts:
            raise InputError(
                f"splits: expected at least {parts} {what} for {parts} parts, found {number}. "
                "Use fewer folds, group_by_site: false, validation_fraction: 0, or a larger cohort."
            )
