import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.partition import partition

LENGTHS = (10, 1, 17, 4, 8)


def real(lengths: tuple[int, ...] = LENGTHS, *, padding: int = 0) -> Tensor:
    return torch.arange(max(lengths) + padding) < torch.tensor(lengths)[:, None]


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4), size=st.integers(1, 12), seed=st.integers(0, 99))
def test_every_token_is_in_one_part_and_parts_are_near_equal(lengths: list[int], size: int, seed: int) -> None:
    shuffled = torch.randperm(max(lengths) + 2, generator=torch.Generator().manual_seed(seed))
    mask = real(tuple(lengths), padding=2)[:, shuffled]  # valid tokens anywhere
    counts = -(-torch.tensor(lengths) // size)
    for found in (partition(mask, parts=counts, seed=seed), partition(mask, parts=counts)):
        assert found.bag.tolist() == [row for row, count in enumerate(counts) for _ in range(count)]
        for row in range(len(lengths)):
            own = found.bag == row
            assert sorted(found.tokens[own][found.mask[own]].tolist()) == mask[row].nonzero().flatten().tolist()
            sizes = found.mask[own].sum(dim=1)
            assert int(sizes.min()) >= 1
            assert int(sizes.max()) <= min(size, int(sizes.min()) + 1)
        assert found.mask.any(dim=0).all()
        assert not found.tokens[~found.mask].any()


def test_a_seed_depends_on_neither_padding_nor_the_batch() -> None:
    counts = torch.tensor(LENGTHS) // 4 + 1
    counts[1] = 1
    together = partition(real(padding=5), parts=counts, seed=7)
    for row, length in enumerate(LENGTHS):
        alone = partition(real((length,)), parts=counts[[row]], seed=7)
        own = together.bag == row
        width = alone.tokens.shape[1]
        assert torch.equal(together.tokens[own, :width], alone.tokens)
        assert torch.equal(together.mask[own, :width], alone.mask)
        assert not together.mask[own, width:].any()
    other, same = (partition(real(), parts=counts, seed=seed).tokens for seed in (8, 7))
    assert not torch.equal(other, same)


def test_padding_between_tokens_is_left_out() -> None:
    holes = torch.tensor([[False, True, True, False, True, True]])
    two = torch.tensor([2])
    parts, dense = partition(holes, parts=two, seed=3), partition(holes[holes][None], parts=two, seed=3)
    columns = holes[0].nonzero()[:, 0]
    assert torch.equal(parts.tokens[parts.mask], columns[dense.tokens[dense.mask]])


def test_without_a_seed_each_bag_and_each_call_is_shuffled_by_itself() -> None:
    torch.manual_seed(0)
    mask = real((50, 50))
    one = torch.tensor([1, 1])
    first, second = partition(mask, parts=one), partition(mask, parts=one)
    assert not torch.equal(first.tokens[0], first.tokens[1])
    assert not torch.equal(first.tokens, second.tokens)


def test_the_shuffled_tokens_are_dealt_out_one_by_one() -> None:
    order = np.argsort(np.random.default_rng(7).random(7))
    parts = partition(real((7,)), parts=torch.tensor([3]), seed=7)
    assert [own[real].tolist() for own, real in zip(parts.tokens, parts.mask, strict=True)] == [
        order[first::3].tolist() for first in range(3)
    ]


@pytest.mark.parametrize(("parts", "lengths"), [((0,), (3,)), ((4,), (3,)), ((1, 1), (3, 0))])
def test_fewer_than_one_part_or_more_than_tokens_are_refused(parts: tuple[int, ...], lengths: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected from one part per bag to one per token"):
        partition(real(lengths), parts=torch.tensor(parts))
