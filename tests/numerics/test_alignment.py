import math
from itertools import pairwise

import pytest
import torch

from tta_pipeline.numerics import alignment


def test_the_curriculum_rises_from_near_its_start_to_1() -> None:
    rho = [alignment.rho_at(t / 10, start=0.1, epochs=10, sharpness=5) for t in range(151)]
    assert rho[0] == pytest.approx(0.1 + 0.9 * math.exp(-5))
    assert rho[50] == pytest.approx(0.1 + 0.9 * math.exp(-5 / 4))
    assert all(later >= earlier for earlier, later in pairwise(rho))
    assert rho[100:] == [1.0] * 51
    assert alignment.rho_at(0, start=0.1, epochs=0, sharpness=5) == 1


@pytest.fixture
def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, plan and mask of two bags of 6 and 4 tokens."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    plan = torch.rand(2, 6, 3, generator=generator, dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor([[6], [4]])
    return logits, plan * mask[..., None], mask


@pytest.mark.parametrize("plan_weight", [0.0, 0.5, 1.0])
def test_pooling_weights_are_distributions_of_real_tokens(
    problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor], plan_weight: float
) -> None:
    logits, plan, mask = problem
    weights = alignment.pooling_weights(logits, plan, mask=mask, plan_weight=plan_weight)
    torch.testing.assert_close(weights.sum(-1), mask.double())
    if plan_weight == 0:
        torch.testing.assert_close(weights, alignment.pooling_weights(logits, None, mask=mask, plan_weight=0.5))


def test_assignment_loss_is_least_where_the_logits_are_the_plan(
    problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    logits, plan, mask = problem
    best = alignment.row_normalised(plan).clamp_min(1e-300).log()
    entropy = -(alignment.row_normalised(plan) * best).sum(-1)
    expected = (entropy[0].mean() + entropy[1, :4].mean()) / 2
    torch.testing.assert_close(alignment.assignment_loss(best, plan, mask=mask), expected)
    assert alignment.assignment_loss(logits, plan, mask=mask) > expected


def test_assignment_loss_ignores_padding(problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    logits, plan, mask = problem
    garbage = logits.masked_fill(~mask[..., None], 1e6)
    assert alignment.assignment_loss(garbage, plan, mask=mask) == alignment.assignment_loss(logits, plan, mask=mask)


def test_contrast_has_its_closed_form_between_orthogonal_anchors() -> None:
    anchors = torch.tensor([[2.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    found = alignment.contrast_loss(torch.tensor([[3.0, 0.0]], dtype=torch.float64), anchors, own=0, temperature=0.1)
    assert float(found) == pytest.approx(math.log1p(math.exp(-10)), rel=1e-4)
    found = alignment.contrast_loss(torch.tensor([[3.0, 0.0]], dtype=torch.float64), anchors, own=1, temperature=0.1)
    assert float(found) == pytest.approx(10 + math.log1p(math.exp(-10)), rel=1e-4)


@pytest.mark.parametrize(("fraction", "overlap"), [(0.8, 0.8), (0.5, 0.0), (1.0, 1.0)])
def test_views_have_their_sizes_and_overlap(fraction: float, overlap: float) -> None:
    mask = torch.arange(200) < torch.tensor([[200], [100], [1], [3]])
    views = alignment.two_views(mask, fraction=fraction, overlap=overlap)
    torch.testing.assert_close(views.sum(-1), torch.ones(4, 2))
    held = views > 0
    assert not (held & ~mask[:, None]).any()
    assert held[:2].sum(-1).tolist() == [[200 * fraction] * 2, [100 * fraction] * 2]
    assert (held[:2, 0] & held[:2, 1]).sum(-1).tolist() == [200 * fraction * overlap, 100 * fraction * overlap]
    assert not torch.equal(views, alignment.two_views(mask, fraction=fraction, overlap=overlap)) or fraction == 1


def test_consistency_pulls_each_view_to_the_other(problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    plans = torch.rand(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    logits = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    target = plans / plans.sum(-1, keepdim=True)
    least = -(target * target.log()).sum(-1).mean(dim=(0, 2))  # (heads,)
    torch.testing.assert_close(alignment.consistency_loss(target.log().flip(0), plans), least)
    assert (alignment.consistency_loss(logits, plans) > least).all()
