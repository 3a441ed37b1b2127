from typing import Any

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.motcat import MOTCat

SETS = [np.arange(0, 4), np.array([2, 5, 6]), np.array([8])]
SMALL = {"hidden_dim": 8, "heads": 2, "feed_forward_dim": 12, "attention_dim": 4}
LENGTHS = (9, 1, 4)


def build(**options: Any) -> MOTCat:
    torch.manual_seed(0)
    section = model_sections.MOTCat(architecture="motcat", **SMALL | options)
    return MOTCat(section, feature_dim=7, pathways=SETS).eval()


def batch(lengths: tuple[int, ...] = LENGTHS) -> Batch:
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    features = torch.randn(*mask.shape, 7, generator=generator)
    return Batch(features, mask, torch.randn(len(lengths), 9, generator=generator))


def one(whole: Batch, row: int, patches: Tensor) -> Batch:
    """The patient of a row with some patches of its bag."""
    features = whole.features[row, patches][None]
    return Batch(features, torch.ones(features.shape[:2], dtype=torch.bool), whole.expression[row, None])


def tokens(model: MOTCat, whole: Batch) -> tuple[Tensor, Tensor]:
    return model.patches(whole.features), model.genes(whole.expression)


@pytest.mark.filterwarnings("ignore:If reg_type = entropy")  # it says that it does as told
@pytest.mark.parametrize(("epsilon", "tau"), [(0.1, 0.5), (0.05, 2.0)])
def test_sets_read_by_the_plan_of_pot(epsilon: float, tau: float) -> None:
    model, whole = build(epsilon=epsilon, tau=tau), batch()
    patches, genes = tokens(model, whole)
    for row, length in enumerate(LENGTHS):
        left, right = patches[row, :length].double(), genes[row].double()
        left, right = left - left.min(dim=1, keepdim=True)[0], right - right.min(dim=1, keepdim=True)[0]
        cost = torch.cdist(left, right).square()
        plan = ot.unbalanced.sinkhorn_knopp_unbalanced(
            np.full(length, 1 / length),
            np.full(3, 1 / 3),
            (cost / cost.max()).detach().numpy(),
            epsilon,
            tau,
            reg_type="entropy",
            stopThr=1e-14,
            numItermax=100_000,
        ).reshape(length, 3)
        found = model.transport(patches, genes=genes, mask=whole.mask).plan[row]
        np.testing.assert_allclose(found[:length], plan, rtol=0, atol=1e-6)
        assert not found[length:].any()
        read = torch.from_numpy(plan).float().T @ patches[row, :length]  # rows are not normalised
        expected = model.head(model.branches(histology=read[None], genes=genes[[row]]))
        torch.testing.assert_close(model(whole).scores[[row]], expected, rtol=0, atol=1e-5)


def test_the_plan_is_a_constant_of_the_gradient() -> None:
    model, whole = build(), batch()
    model(whole).scores.sum().backward()
    found = {name: weights.grad.clone() for name, weights in model.named_parameters()}
    model.zero_grad()
    patches, genes = tokens(model, whole)
    plan = model.transport(patches.detach(), genes=genes.detach(), mask=whole.mask).plan
    read = torch.einsum("bnp,bnd->bpd", plan, patches)
    model.head(model.branches(histology=read, genes=genes)).sum().backward()
    for name, weights in model.named_parameters():
        torch.testing.assert_close(found[name], weights.grad, msg=name)


def test_scaling_all_tokens_leaves_the_plan() -> None:
    model, whole = build(), batch()
    patches, genes = tokens(model, whole)
    plan = model.transport(patches, genes=genes, mask=whole.mask).plan
    scaled = model.transport(20 * patches, genes=20 * genes, mask=whole.mask).plan
    torch.testing.assert_close(scaled, plan, rtol=1e-4, atol=1e-6)


def test_the_history_says_whether_the_solver_converged() -> None:
    numbers = build()(batch()).diagnostics
    assert 1 < numbers["solver_iterations"] < 1000
    assert 0 < numbers["solver_residual"] <= 1e-6


def test_a_patients_score_is_the_mean_over_its_micro_batches() -> None:
    model, whole = build(micro_batch=4), batch()
    found = model(whole).scores
    undivided = build()
    torch.testing.assert_close(found[1], undivided(one(whole, 1, torch.arange(1))).scores[0])
    generator = np.random.default_rng(0)  # the seed of evaluation
    for row, length in enumerate(LENGTHS):
        order = np.argsort(generator.random(max(LENGTHS))[:length])
        generator = np.random.default_rng(0)
        count = min(length // 4 + 1, length)
        parts = [order[first::count] for first in range(count)]
        scores = [undivided(one(whole, row, torch.from_numpy(part))).scores[0] for part in parts]
        torch.testing.assert_close(found[row], torch.stack(scores).mean(dim=0), rtol=1e-5, atol=1e-6)


def test_bags_below_the_size_of_a_micro_batch_are_whole() -> None:
    whole = batch()
    torch.testing.assert_close(build(micro_batch=10)(whole).scores, build()(whole).scores, rtol=1e-5, atol=1e-6)


def test_micro_batches_are_drawn_anew_in_training_and_stay_in_evaluation() -> None:
    model, whole = build(micro_batch=3, dropout=0.0), batch()
    assert torch.equal(model(whole).scores, model(whole).scores)
    model.train()
    first, second = model(whole).scores, model(whole).scores
    assert not torch.allclose(first[0], second[0], rtol=0, atol=1e-7)
    torch.testing.assert_close(first[1], second[1])


@pytest.mark.parametrize("outputs", [1, 4])
def test_micro_batches_depend_on_neither_padding_nor_batch_mates(outputs: int) -> None:
    torch.manual_seed(0)
    section = model_sections.MOTCat(architecture="motcat", micro_batch=3, **SMALL)
    model, whole = MOTCat(section, feature_dim=7, pathways=SETS, outputs=outputs).eval(), batch()
    garbage = Batch(whole.features.masked_fill(~whole.mask[..., None], 1e6), whole.mask, whole.expression)
    found = model(garbage).scores
    assert found.shape == (3, outputs)
    for row, length in enumerate(LENGTHS):
        alone = model(one(whole, row, torch.arange(length))).scores
        torch.testing.assert_close(found[[row]], alone, rtol=0, atol=1e-6)
