"""Neighbours in a bag and on a slide: against other searches, and where bags or slides are short."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from tta_pipeline.numerics import neighbours
from tta_pipeline.numerics.neighbours import nearest, nearest_in_place

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


def scattered(*, cells: int = 2**20) -> torch.Tensor:
    """Places on three slides, x and y on a grid of so many cells a side; slide 2 of the first bag has four tokens."""
    generator = torch.Generator().manual_seed(0)
    slide = torch.randint(0, 2, (4, 30, 1), generator=generator)
    slide[0, [3, 11, 12, 29]] = 2
    xy = 512 * torch.randint(0, cells, (4, 30, 2), generator=generator)
    return torch.cat([slide, xy], dim=2).float().masked_fill(~MASK[..., None], torch.nan)


def apart(places: torch.Tensor) -> torch.Tensor:
    """Squared distances (n, n), infinite between slides."""
    x, y = (places[:, axis].double() for axis in (1, 2))
    squares = (x[:, None] - x).square() + (y[:, None] - y).square()
    return squares.masked_fill(places[:, None, 0] != places[:, 0], torch.inf)


@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_the_nearest_in_place_are_those_of_all_pairs_and_of_one_slide(count: int) -> None:
    index, valid = nearest_in_place(scattered(), mask=MASK, count=count)
    assert index.shape == valid.shape == (4, 30, 1 + count)
    for row, length in enumerate(LENGTHS):
        distances = apart(scattered()[row, :length])
        for token in range(length):
            expected = distances[token].argsort()[: 1 + count]
            expected = expected[distances[token, expected].isfinite()]
            assert index[row, token][valid[row, token]].tolist() == expected.tolist()  # the token itself comes first
        assert not valid[row, length:].any()
    assert valid[0, 3].sum() == min(4, 1 + count)


@pytest.mark.parametrize("seed", range(5))
def test_of_tokens_that_are_equally_far_the_same_are_taken_whatever_their_order(seed: int) -> None:
    places = scattered(cells=8)[0].unique(dim=0)  # a third of the cells of a slide
    length, mask = len(places), torch.ones(1, len(places), dtype=torch.bool)
    index, valid = nearest_in_place(places[None], mask=mask, count=4)
    distances = apart(places)
    for token in range(length):
        found = distances[token, index[0, token][valid[0, token]]]
        expected = distances[token].sort().values[: len(found)]
        assert found.tolist() == expected.tolist()
    ties = (distances.sort(dim=1).values.diff(dim=1)[:, 4] == 0).sum()
    assert ties >= 5, "the fifth and the sixth are to be equally far for some"
    order = torch.randperm(length, generator=torch.Generator().manual_seed(seed))
    other, there = nearest_in_place(places[order][None], mask=mask, count=4)
    assert torch.equal(there[0], valid[0, order])
    assert torch.equal(order[other[0]][there[0]], index[0, order][there[0]])


def test_many_tokens_in_one_place_are_each_their_own_and_others() -> None:
    index, valid = nearest_in_place(torch.zeros(1, 40, 3), mask=torch.ones(1, 40, dtype=torch.bool), count=4)
    assert valid.all()
    assert index[0, :, 0].tolist() == list(range(40))
    assert all(len(row.unique()) == 5 for row in index[0])


def test_neighbours_in_place_are_found_around_padding_and_in_any_unit() -> None:
    places = scattered()[:1]
    index, valid = nearest_in_place(places, mask=MASK[:1], count=4)
    scaled = places * torch.tensor([1, 0.25, 0.25])
    assert torch.equal(nearest_in_place(scaled, mask=MASK[:1], count=4)[0], index)
    rows = torch.arange(60).view(30, 2)[:, 1]  # padding before each token
    padded, mask = torch.full((1, 60, 3), torch.nan), torch.zeros(1, 60, dtype=torch.bool)
    padded[0, rows], mask[0, rows] = places[0], True
    other, there = nearest_in_place(padded, mask=mask, count=4)
    assert torch.equal(there[0, rows], valid[0])
    assert torch.equal(other[0, rows][valid[0]], rows[index[0]][valid[0]])
    assert not there[0, rows - 1].any()


def test_on_a_row_of_tokens_the_nearest_are_those_beside_a_token() -> None:
    """So are patches of a slide without coordinates given."""
    row = torch.stack([torch.zeros(9), torch.arange(9.0), torch.zeros(9)], dim=1)
    index, valid = nearest_in_place(row[None], mask=torch.ones(1, 9, dtype=torch.bool), count=4)
    assert valid.all()
    for place in range(9):
        first = min(max(place - 2, 0), 4)
        assert sorted(index[0, place].tolist()) == list(range(first, first + 5))
