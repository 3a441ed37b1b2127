"""Neighbours in a bag: against a search tree, and where bags are short."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from tta_pipeline.numerics import neighbours
from tta_pipeline.numerics.neighbours import nearest, window

LENGTHS = (30, 1, 3, 5)
MASK = torch.arange(30) < torch.tensor(LENGTHS)[:, None]


def points() -> torch.Tensor:
    drawn = torch.randn(4, 30, 6, generator=torch.Generator().manual_seed(0)) + 100
    return drawn.masked_fill(~MASK[..., None], torch.nan)


# A row at a time; parts of 7 rows of a bag of 30, the last one shorter; two bags at a time; all at once.
@pytest.mark.parametrize("entries", [1, 7 * 30, 2 * 30**2, 2**24])
def test_the_nearest_are_those_of_a_search_tree(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_CHUNK_ENTRIES", entries)
    index, valid = nearest(points(), mask=MASK, count=4)
    assert index.shape == valid.shape == (4, 30, 5)
    for row, length in enumerate(LENGTHS):
        bag = points()[row, :length].double().numpy()
        size = min(5, length)
        expected = cKDTree(bag).query(bag, k=np.arange(1, size + 1))[1]
        assert np.array_equal(index[row, :length, :size], expected)  # the token itself comes first
        assert valid[row, :length, :size].all()
        assert not valid[row, :, size:].any()
        assert not valid[row, length:].any()


@pytest.mark.parametrize("entries", [1, 7 * 30, 2 * 30**2])
def test_no_more_distances_than_asked_are_worked_on_and_the_neighbours_are_the_same(
    entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, valid = nearest(points(), mask=MASK, count=4)
    sizes: list[int] = []
    product = torch.baddbmm

    def watched(*arguments: torch.Tensor, **options: float) -> torch.Tensor:
        distances = product(*arguments, **options)
        sizes.append(distances.numel())
        return distances

    monkeypatch.setattr(torch, "baddbmm", watched)
    monkeypatch.setattr(neighbours, "_CHUNK_ENTRIES", entries)
    parts, there = nearest(points(), mask=MASK, count=4)
    assert torch.equal(there, valid)
    assert torch.equal(parts[there], index[valid])
    assert max(sizes) <= max(entries, 30)  # a row is never cut
    assert sum(sizes) == 4 * 30**2


def test_a_window_is_in_the_bag_and_has_the_token_in_its_middle_where_it_can() -> None:
    index, valid = window(MASK, count=4)
    for row, length in enumerate(LENGTHS):
        for place in range(length):
            first = min(max(place - 2, 0), max(length - 5, 0))
            assert index[row, place][valid[row, place]].tolist() == list(range(first, min(first + 5, length)))
        assert not valid[row, length:].any()


def test_a_window_passes_over_padding_inside_a_bag() -> None:
    index, valid = window(torch.tensor([[True, False, True, True, False, True]]), count=2)
    assert valid[0].sum(dim=1).tolist() == [3, 0, 3, 3, 0, 3]
    assert index[0, [0, 2, 3, 5]].tolist() == [[0, 2, 3], [0, 2, 3], [2, 3, 5], [2, 3, 5]]
