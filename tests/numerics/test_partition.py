import pytest
import torch
from torch import Tensor

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.partition import partition

LENGTHS = (10, 1, 17, 4, 8)


def real(lengths: tuple[int, ...] = LENGTHS, *, padding: int = 0) -> Tensor:
    return torch.arange(max(lengths) + padding) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("size", [1, 2, 4, 100])
@pytest.mark.parametrize("seed", [None, 0])
def test_every_token_is_in_one_part_and_parts_are_near_equal(size: int, seed: int | None) -> None:
    parts = partition(real(), size=size, seed=seed)
    assert parts.bag.tolist() == sorted(parts.bag.tolist())
    for row, length in enumerate(LENGTHS):
        own = parts.bag == row
        assert int(own.sum()) == min(length // size + 1, length)
        assert sorted(parts.tokens[own][parts.mask[own]].tolist()) == list(range(length))
        sizes = parts.mask[own].sum(dim=1)
        assert int(sizes.min()) >= 1
        assert int(sizes.max()) <= min(size, int(sizes.min()) + 1)


def test_a_seed_depends_on_neither_padding_nor_the_batch() -> None:
    together = partition(real(padding=5), size=4, seed=7)
    for row, length in enumerate(LENGTHS):
        alone = partition(real((length,)), size=4, seed=7)
        own = together.bag == row
        width = alone.tokens.shape[1]
        assert torch.equal(together.tokens[own, :width], alone.tokens)
        assert torch.equal(together.mask[own, :width], alone.mask)
        assert not together.mask[own, width:].any()
    assert not torch.equal(partition(real(), size=4, seed=8).tokens, partition(real(), size=4, seed=7).tokens)


def test_padding_between_tokens_is_left_out() -> None:
    holes = torch.tensor([[False, True, True, False, True, True]])
    parts, dense = partition(holes, size=2, seed=3), partition(holes[holes][None], size=2, seed=3)
    columns = holes[0].nonzero()[:, 0]
    assert torch.equal(parts.tokens[parts.mask], columns[dense.tokens[dense.mask]])


def test_without_a_seed_each_bag_and_each_call_is_shuffled_by_itself() -> None:
    torch.manual_seed(0)
    mask = real((50, 50))
    first, second = partition(mask, size=100), partition(mask, size=100)
    assert not torch.equal(first.tokens[0], first.tokens[1])
    assert not torch.equal(first.tokens, second.tokens)


@pytest.mark.parametrize(("size", "lengths"), [(0, (3,)), (2, (3, 0))])
def test_a_size_or_a_bag_of_nothing_is_refused(size: int, lengths: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected a size of at least 1 and a token in each bag"):
        partition(real(lengths), size=size)
