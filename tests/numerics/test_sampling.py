import numpy as np
import pytest

from tta_pipeline.numerics.sampling import stratified_batches, weighted_batches


@pytest.mark.parametrize(("patients", "events", "batch_size"), [(100, 9, 16), (33, 33, 32), (64, 20, 32), (5, 1, 2)])
def test_every_patient_once_and_events_spread_evenly(patients: int, events: int, batch_size: int) -> None:
    event = np.arange(patients) < events
    batches = stratified_batches(event, batch_size=batch_size, generator=np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == list(range(patients))
    sizes = [len(batch) for batch in batches]
    counts = [int(event[batch].sum()) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert max(counts) - min(counts) <= 1


def test_the_draw_follows_the_seed() -> None:
    event = np.arange(40) < 10
    first, again, other = (
        np.concatenate(stratified_batches(event, batch_size=8, generator=np.random.default_rng(seed)))
        for seed in (1, 1, 2)
    )
    assert first.tolist() == again.tolist() != other.tolist()


def test_weighted_batches_show_every_kind_equally_often() -> None:
    kind = np.repeat([0, 1, 2], [300, 90, 10])
    batches = weighted_batches(kind, batch_size=32, generator=np.random.default_rng(0))
    assert [len(rows) for rows in batches] == [32] * 12 + [16]
    seen = np.bincount(kind[np.concatenate(batches)]) / 400
    np.testing.assert_allclose(seen, 1 / 3, atol=0.08)
