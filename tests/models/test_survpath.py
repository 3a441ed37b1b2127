from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.survpath import PathwayAttention, SurvPath

SETS = [np.arange(0, 4), np.array([2, 5, 6]), np.array([8])]
SMALL = {"embedding_dim": 8, "attention_dim": 4, "hidden_dim": 6}


def build(sets: list[NDArray[np.int64]] = SETS, *, feature_dim: int = 7, **options: Any) -> SurvPath:
    torch.manual_seed(0)
    section = model_sections.SurvPath(architecture="survpath", **SMALL | options)
    return SurvPath(section, feature_dim=feature_dim, pathways=sets).eval()


def batch(lengths: tuple[int, ...] = (9, 4)) -> Batch:
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    features = torch.randn(*mask.shape, 7, generator=generator)
    return Batch(features, mask, torch.randn(len(lengths), 9, generator=generator))


def tokens(*, garbage: float = 1e3) -> tuple[Tensor, Tensor, Tensor]:
    """Pathways (2, 3, 8), patches (2, 9, 8) with garbage as padding, their mask."""
    torch.manual_seed(1)
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    patches = torch.randn(2, 9, 8)
    return torch.randn(2, 3, 8), torch.where(mask[..., None], patches, torch.full_like(patches, garbage)), mask


def test_parameters_grow_with_sets_and_genes() -> None:
    sets = [np.arange(size) for size in (16, 80, 33)]
    model = SurvPath(model_sections.SurvPath(architecture="survpath"), feature_dim=1024, pathways=sets)
    assert sum(parameter.numel() for parameter in model.parameters()) == 256 * 129 + 66_048 * 3 + 411_265


def test_attention_is_dense_attention_under_a_block_mask() -> None:
    module, (pathways, patches, mask) = PathwayAttention(8, 4), tokens()
    read, patch_read = module(pathways, patches=patches, mask=mask)
    for row, length in enumerate((9, 4)):
        every = torch.cat([pathways[row], patches[row, :length]])
        query, key, value = (every @ module.query_key_value.weight.T).chunk(3, dim=1)
        hidden = torch.zeros(3 + length, 3 + length, dtype=torch.bool)
        hidden[3:, 3:] = True
        attention = (query @ key.T / 2).masked_fill(hidden, -torch.inf).softmax(dim=1)
        expected = attention @ value
        torch.testing.assert_close(read[row], expected[:3])
        torch.testing.assert_close(patch_read[row, :length], expected[3:])


def test_equal_tokens_are_read_whole_by_every_query() -> None:
    """Weights of sum 1 over real keys give a common value back; more or less, or garbage, would not."""
    torch.manual_seed(0)
    module, (_, _, mask), one = PathwayAttention(8, 4), tokens(), torch.randn(8)
    patches = one.expand(2, 9, 8).masked_fill(~mask[..., None], 1e3)
    read, patch_read = module(one.expand(2, 3, 8), patches=patches, mask=mask)
    value = one @ module.query_key_value.weight[8:].T
    torch.testing.assert_close(read, value.expand(2, 3, 4))
    torch.testing.assert_close(patch_read[mask], value.expand(13, 4))


def test_a_patch_more_is_nothing_to_other_patches_and_something_to_pathways() -> None:
    module, (pathways, patches, mask) = PathwayAttention(8, 4), tokens()
    fewer, patch_fewer = module(pathways[:1], patches=patches[:1, :8], mask=mask[:1, :8])
    read, patch_read = module(pathways[:1], patches=patches[:1], mask=mask[:1])
    torch.testing.assert_close(patch_read[:, :8], patch_fewer, rtol=0, atol=1e-7)
    assert not torch.isclose(read, fewer, rtol=0, atol=1e-4).all()


def test_memory_grows_linearly_with_the_patches() -> None:
    model = build().train()
    few, some, many = (_numbers_kept_for_the_gradient(model, patches) for patches in (100, 200, 300))
    assert many - some == some - few > 0


def _numbers_kept_for_the_gradient(model: SurvPath, patches: int) -> int:
    kept = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(batch((patches,)))
    return sum(kept)


def test_scores_are_those_of_the_formulas() -> None:
    """One patient at a time, from the weights alone."""
    model, whole = build(), batch()
    for row, length in enumerate((9, 4)):
        genes = model.genes(whole.expression[row, None])
        patches = _linear(model.patches, whole.features[row, None, :length])
        everything = torch.ones(1, length, dtype=torch.bool)
        read = model.attention(model.norm(genes), patches=model.norm(patches), mask=everything)
        means = torch.cat([_fed(model, side[0]).mean(dim=0) for side in read])
        expected = _linear(model.head, F.relu(_linear(model.hidden[0], means)))
        torch.testing.assert_close(model(whole).scores[row], expected)


def _linear(layer: nn.Module, rows: Tensor) -> Tensor:
    return rows @ layer.weight.T + layer.bias


def _fed(model: SurvPath, rows: Tensor) -> Tensor:
    norm, first, _, _, second, norm_out = model.feed_forward
    return norm_out(_linear(second, F.gelu(_linear(first, norm(rows)))))


@pytest.mark.parametrize("training", [True, False])
def test_one_set_and_one_patch_are_enough(training: bool) -> None:
    model = build([np.array([3])]).train(training)
    assert model(batch((1,))).scores.isfinite().all()
