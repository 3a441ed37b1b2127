"""Parts of a cohort: their laws, and their balance against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.folds import TEST, TRAIN, VALIDATION, draw_roles, partition


def even(parts: int) -> np.ndarray:
    return np.full(parts, 1 / parts)


def times(event: np.ndarray) -> np.ndarray:
    """Follow-up with ties, drawn anew for each cohort."""
    return np.random.default_rng(len(event) + int(event.sum())).integers(1, 60, size=len(event)).astype(float)


def cohort(seed: int, *, patients: int = 300, events: int = 80, sites: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """Event and site: sites of very different size, as in TCGA."""
    rng = np.random.default_rng(seed)
    event = rng.permutation(np.arange(patients) < events)
    share = rng.dirichlet(np.full(sites, 0.5))
    return event, rng.choice(sites, size=patients, p=share)


@given(
    data=st.data(),
    parts=st.integers(2, 6),
    n_events=st.integers(6, 40),
    n_others=st.integers(0, 60),
    seed=st.integers(0),
)
@settings(deadline=None)
def test_single_patients_are_shared_out_evenly(
    data: st.DataObject, parts: int, n_events: int, n_others: int, seed: int
) -> None:
    event = np.array(data.draw(st.permutations([True] * n_events + [False] * n_others)))
    part = partition(event=event, time_days=times(event), group=np.arange(len(event)), shares=even(parts), seed=[seed])
    for kind in (event, ~event):
        sizes = np.bincount(part[kind], minlength=parts)
        assert sizes.max() - sizes.min() <= 1
    sizes = np.bincount(part, minlength=parts)
    assert sizes.max() - sizes.min() <= 2


@given(n_events=st.integers(2, 60), n_others=st.integers(0, 60), share=st.floats(0.05, 0.95), seed=st.integers(0))
@settings(deadline=None)
def test_unequal_shares_are_met_within_one_patient(n_events: int, n_others: int, share: float, seed: int) -> None:
    event = np.arange(n_events + n_others) < n_events
    part = partition(
        event=event,
        time_days=times(event),
        group=np.arange(len(event)),
        shares=np.array([1 - share, share]),
        seed=[seed],
    )
    assert abs((part[event] == 1).sum() - np.clip(share * n_events, 1, n_events - 1)) <= 1
    assert abs((part[~event] == 1).sum() - share * n_others) <= 1


@given(
    sizes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=2, max_size=15).filter(
        lambda sizes: sum(events > 0 for events, _ in sizes) >= 2
    ),
    parts=st.integers(2, 5),
    seed=st.integers(0),
)
@settings(deadline=None)
def test_groups_stay_whole_and_every_part_holds_an_event(sizes: list[tuple[int, int]], parts: int, seed: int) -> None:
    parts = min(parts, sum(events > 0 for events, _ in sizes))
    group = np.concatenate([np.full(events + others, number) for number, (events, others) in enumerate(sizes)])
    event = np.concatenate([np.arange(events + others) < events for events, others in sizes])
    part = partition(event=event, time_days=times(event), group=group, shares=even(parts), seed=[seed], draws=3)
    assert all(len(set(part[group == number])) <= 1 for number in range(len(sizes)))
    assert set(part[event]) == set(range(parts))


@pytest.mark.parametrize("n_events", [20, 41, 83])
def test_early_and_late_patients_are_shared_out_too(n_events: int) -> None:
    event = np.random.default_rng(n_events).permutation(np.arange(200) < n_events)
    time_days = times(event)
    part = partition(event=event, time_days=time_days, group=np.arange(200), shares=even(5), seed=[0])
    for kind in (event, ~event):
        late = kind & (time_days > np.median(time_days[kind]))
        sizes = np.bincount(part[late], minlength=5)
        assert sizes.max() - sizes.min() <= 1


def test_times_of_sites_are_balanced_as_far_as_events_allow() -> None:
    """Beside times that say nothing, those of the balance spread the late events of sites more evenly."""

    def spread(time_days: np.ndarray) -> float:
        part = partition(event=event, time_days=time_days, group=site, shares=even(5), seed=[seed])
        late = event & (known > np.median(known[event]))
        return float(np.bincount(part[late], minlength=5).std())

    with_times, without = [], []
    for seed in range(10):
        event, site = cohort(seed, sites=60)
        known = times(event)
        with_times.append(spread(known))
        without.append(spread(np.ones(len(event))))
    assert np.mean(with_times) < 0.8 * np.mean(without)


def test_no_order_of_two_large_groups_empties_a_part() -> None:
    event = np.array([True, False] * 10)
    part = partition(
        event=event, time_days=times(event), group=np.arange(20) // 10, shares=np.array([0.9, 0.1]), seed=[0]
    )
    assert set(part) == {0, 1}


@pytest.mark.parametrize("seed", range(8))
def test_balance_of_sites_is_no_worse_than_scikit_learns(seed: int) -> None:
    event, site = cohort(seed)

    def imbalance(part: np.ndarray) -> float:
        counts = np.stack([np.bincount(part[kind], minlength=5) / kind.sum() for kind in (event, ~event)])
        return float(((counts - 0.2) ** 2).sum())

    ours = imbalance(partition(event=event, time_days=times(event), group=site, shares=even(5), seed=[seed]))
    theirs = np.empty(len(event), int)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for fold, (_, test) in enumerate(splitter.split(event, event, site)):
        theirs[test] = fold
    assert ours <= imbalance(theirs) + 1e-12


def test_sizes_are_those_of_scikit_learn_without_groups() -> None:
    event, _ = cohort(0)
    part = partition(event=event, time_days=times(event), group=np.arange(300), shares=even(7), seed=[0])
    theirs = [event[test].sum() for _, test in StratifiedKFold(7).split(event, event)]
    assert sorted(np.bincount(part[event])) == sorted(theirs)


@pytest.mark.parametrize("grouped", [False, True])
def test_roles_of_one_repeat(grouped: bool) -> None:
    event, site = cohort(3)
    roles = draw_roles(
        event=event,
        time_days=times(event),
        group=site if grouped else None,
        folds=5,
        validation_fraction=0.25,
        seed=[1, 0],
    )
    tested = np.stack([role == TEST for role in roles])
    assert (tested.sum(axis=0) == 1).all()
    for role in roles:
        assert set(role) == {TRAIN, VALIDATION, TEST}
        assert all(event[role == name].any() for name in set(role))
        if grouped:
            assert all(len(set(role[site == number])) == 1 for number in set(site))
        else:
            assert abs((role == VALIDATION).sum() - 0.25 * (role != TEST).sum()) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_sites_of_one_patient_each_are_shared_out_like_patients(seed: int) -> None:
    event, _ = cohort(seed, patients=60, events=20)
    site = 10 * np.random.default_rng(seed).permutation(60)
    roles = draw_roles(
        event=event, time_days=times(event), group=site, folds=5, validation_fraction=0.25, seed=[seed, 0]
    )
    assert (np.sum([role == TEST for role in roles], axis=0) == 1).all()
    for role in roles:
        sides = [set(site[role == name]) for name in (TRAIN, VALIDATION, TEST)]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 60
        assert (role[event] == TEST).sum() == 4
        assert (role[~event] == TEST).sum() == 8
        assert all(event[role == name].any() for name in (TRAIN, VALIDATION))


def test_no_validation_part_when_its_fraction_is_zero() -> None:
    event, _ = cohort(0)
    for role in draw_roles(event=event, time_days=times(event), group=None, folds=3, validation_fraction=0, seed=[0]):
        assert set(role) == {TRAIN, TEST}


@pytest.mark.parametrize("grouped", [False, True])
def test_the_seed_decides_and_repeats_differ(grouped: bool) -> None:
    event, site = cohort(0)

    def draw(*seed: int) -> np.ndarray:
        group = site if grouped else None
        return np.stack(
            draw_roles(event=event, time_days=times(event), group=group, folds=5, validation_fraction=0.2, seed=seed)
        )

    assert (draw(0, 0) == draw(0, 0)).all()
    assert (draw(0, 0) != draw(0, 1)).any()
    assert (draw(0, 0) != draw(1, 0)).any()


@pytest.mark.parametrize(
    ("event", "group", "message"),
    [
        ([1, 1, 1], [0, 1, 2], "at least 4 patients for 4 parts, found 3"),
        ([1, 1, 1, 0, 0], [0, 1, 2, 3, 4], "at least 4 events for 4 parts, found 3"),
        ([1] * 6, [0, 1, 2, 0, 1, 2], r"at least 4 groups \(sites\) for 4 parts, found 3"),
        ([1, 1, 1, 1, 0, 0], [0, 1, 2, 0, 3, 4], r"groups \(sites\) with an event for 4 parts, found 3"),
        ([], [], "at least 4 patients for 4 parts, found 0"),
    ],
)
def test_too_few_of_anything_is_said_with_numbers(event: list[int], group: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        partition(
            event=np.array(event, bool),
            time_days=np.ones(len(event)),
            group=np.array(group, int),
            shares=even(4),
            seed=[0],
        )
