import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tta_pipeline.numerics.parts import partition


def parts_of(index: Tensor, valid: Tensor, row: int) -> list[list[int]]:
    found = [sorted(part[real].tolist()) for part, real in zip(index[row], valid[row], strict=True)]
    return [part for part in found if part]


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4), size=st.integers(1, 12), seed=st.integers(0, 99))
def test_parts_cover_a_bag_once_and_are_nearly_equal(lengths: list[int], size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths) + 2) < torch.tensor(lengths)[:, None]
    mask = mask[:, torch.randperm(mask.shape[1], generator=generator)]  # valid tokens anywhere
    keys = torch.rand(mask.shape, dtype=torch.float64, generator=generator)
    index, valid = partition(mask, size=size, keys=keys)
    for row, length in enumerate(lengths):
        parts = parts_of(index, valid, row)
        assert sorted(position for part in parts for position in part) == mask[row].nonzero().flatten().tolist()
        sizes = [len(part) for part in parts]
        assert len(parts) == -(-length // size)
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1


def test_a_bag_is_cut_alike_whatever_its_padding_and_company() -> None:
    keys = torch.rand(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = partition(torch.ones(1, 7, dtype=torch.bool), size=3, keys=keys[:7])
    mask = torch.tensor([[False, *[True] * 7, False], [True] * 9])
    together = partition(mask, size=3, keys=keys)
    shifted = [[position - 1 for position in part] for part in parts_of(*together, row=0)]
    assert shifted == parts_of(*alone, row=0)


def test_keys_decide_who_is_together() -> None:
    mask = torch.ones(1, 4, dtype=torch.bool)
    index, valid = partition(mask, size=2, keys=torch.tensor([0.3, 0.1, 0.2, 0.0]))  # order 3, 1, 2, 0
    assert parts_of(index, valid, 0) == [[2, 3], [0, 1]]
    assert valid.all()


@pytest.mark.parametrize("size", [4, 100])
def test_a_short_bag_is_one_part(size: int) -> None:
    index, valid = partition(torch.ones(2, 4, dtype=torch.bool), size=size, keys=torch.arange(4.0))
    assert index.shape == valid.shape == (2, 1, 4)
