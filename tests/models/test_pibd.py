"""PIBD: what labels may change, the parts of its loss, and its streams."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models.test_baselines import NO_DROPOUT, SETS, WIDTH, batch, build
from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output
from tta_pipeline.models.pibd import PIBD
from tta_pipeline.models.pibd_parts import Bottleneck, InformationBound, SharedBlock, mean_of_samples, select


def pibd(**options: Any) -> PIBD:
    model = build("pibd", **options)
    assert isinstance(model, PIBD)
    return model


def labelled(whole: Batch, *, shift: int = 0) -> Batch:
    rows = torch.arange(len(whole.mask)) + shift
    return replace(whole, event=rows % 2 == 0, time_bin=rows % 4)


def seeded(model: PIBD, whole: Batch) -> Output:
    torch.manual_seed(7)
    output: Output = model(whole)
    return output


def test_labels_change_the_training_loss_and_not_what_is_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    model, whole = pibd().train(), batch((9, 5, 2))
    chosen = []
    selected = PIBD.selected

    def watched(self: PIBD, batch: Batch, **prototypes: Tensor) -> Any:
        chosen.append(selected(self, batch, **prototypes))
        return chosen[-1]

    monkeypatch.setattr(PIBD, "selected", watched)
    first, other = (seeded(model, labelled(whole, shift=shift)) for shift in (0, 1))
    assert not torch.equal(first.losses["prototype"], other.losses["prototype"])
    assert not torch.equal(first.scores, other.scores)  # by the own prototype
    for part in ("histology", "genes"):
        one, two = (getattr(each, part) for each in chosen)
        assert torch.equal(one.tokens, two.tokens)
        assert torch.equal(one.kind, two.kind)
    assert torch.equal(first.losses["classification"], other.losses["classification"])


def test_labels_cannot_reach_a_risk_and_evaluation_is_deterministic() -> None:
    model, whole = pibd(), batch((9, 5, 2))
    plain = model(whole)
    assert plain.losses == {}
    assert torch.equal(plain.scores, model(whole).scores)
    for shift in (0, 1):
        assert torch.equal(model(labelled(whole, shift=shift)).scores, plain.scores)


def test_patients_who_differ_in_their_outcomes_alone_differ_in_training_and_not_in_evaluation() -> None:
    """The head can read the outcome from the prototype: a training loss that falls says nothing of patches or genes."""
    model, one = pibd(samples=10**30, **NO_DROPOUT), batch((4,))  # one part; means of samples as good as means
    alike = Batch(one.features.expand(16, -1, -1), one.mask.expand(16, -1), one.expression.expand(16, -1))
    rows = torch.arange(16)
    alike = replace(alike, event=rows % 2 == 0, time_bin=rows // 2 % 4)  # each of eight outcomes twice
    evaluated = model(alike).scores
    torch.testing.assert_close(evaluated, evaluated[:1].expand(16, -1))
    first, second = model.train()(alike).scores.detach().split(8)
    torch.testing.assert_close(first, second)
    assert (torch.pdist(first) > 1e-4).all()


def test_training_without_outcomes_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="a training batch has outcomes"):
        pibd().train()(batch((3,)))


def test_scores_are_means_over_the_parts_of_a_bag() -> None:
    model, whole = pibd(part_patches=4), batch((10,))
    keys = np.random.default_rng(0).random(10)
    rows = [np.argsort(keys)[first::3] for first in range(3)]  # dealt out to three parts
    alone = [model(Batch(whole.features[:, part], whole.mask[:, part], whole.expression)).scores for part in rows]
    torch.testing.assert_close(model(whole).scores, torch.stack(alone).mean(dim=0), rtol=0, atol=1e-6)


def test_selection_takes_the_nearest_pairs_and_votes() -> None:
    prototypes = torch.eye(3)
    tokens = torch.tensor([[[5.0, 4, 0], [0, 0.1, 1], [9, 9, 9], [1e6, 0, 0]]])
    mask = torch.tensor([[True, True, True, False]])
    found = select(tokens, mask=mask, prototypes=prototypes, keep=torch.tensor([3]))
    assert found.tokens[0].tolist() == [tokens[0, 1].tolist(), *[tokens[0, 0].tolist()] * 2]  # 0.995, 0.78, 0.62
    assert found.mask.all()
    assert int(found.kind) == 0  # one pair each: the first of them
    cosines = F.normalize(tokens[:, :3], dim=2)
    torch.testing.assert_close(found.nearness, cosines.sort(dim=1, descending=True).values.mean(dim=1))


def test_bags_of_their_own_numbers_to_keep() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens, prototypes = torch.randn(2, 6, 5, generator=generator), torch.randn(4, 5, generator=generator)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    both = select(tokens, mask=mask, prototypes=prototypes, keep=torch.tensor([3, 1]))
    alone = select(tokens[1:, :2], mask=mask[1:, :2], prototypes=prototypes, keep=torch.tensor([1]))
    assert both.mask.tolist() == [[True] * 3, [True, False, False]]
    assert torch.equal(both.tokens[1, 0], alone.tokens[0, 0])
    torch.testing.assert_close(both.nearness[1], alone.nearness[0])


@pytest.mark.parametrize("joint", [False, True])
def test_bound_of_information_is_its_formula(joint: bool) -> None:
    torch.manual_seed(0)
    bound = InformationBound(3, hidden=6, out=4, joint=joint)
    x, y = torch.randn(5, 1, 3), torch.randn(5, 1, 4)
    f = bound.estimate(x)
    pairs = (y[None, :, 0] - f[:, None, 0]).square().sum(dim=2)  # (i, j)
    expected = 0.5 * (pairs.mean(dim=1) - pairs.diagonal()).mean()
    y = y * expected.sign()  # so that it is above 0, where it is not cut
    weight = torch.full((5, 1), 0.2)
    information, fit = bound(x, y, weight=weight)
    pairs = (y[None, :, 0] - f[:, None, 0]).square().sum(dim=2)
    torch.testing.assert_close(information, 0.5 * (pairs.mean(dim=1) - pairs.diagonal()).mean())
    torch.testing.assert_close(fit, pairs.diagonal().mean())
    nothing = torch.tensor(0.0)
    constant, alone = bound(x, torch.ones(5, 1, 4), weight=weight), bound(x[:1], y[:1], weight=torch.ones(1, 1))
    torch.testing.assert_close(constant[0], nothing, rtol=0, atol=1e-6)  # nothing to know
    torch.testing.assert_close(alone[0], nothing, rtol=0, atol=1e-6)  # nobody to compare with


@torch.no_grad()
def test_a_bound_below_zero_is_zero_in_the_paper_and_itself_as_released() -> None:
    x, y, weight = torch.randn(5, 1, 3), torch.randn(5, 1, 4), torch.full((5, 1), 0.2)
    found = {}
    for joint in (False, True):
        torch.manual_seed(0)
        bound = InformationBound(3, hidden=6, out=4, joint=joint)
        found[joint] = [bound(x, sign * y, weight=weight)[0] for sign in (1, -1)]  # the bound is odd in y
    assert sum(found[True]) == pytest.approx(0, abs=1e-6)
    assert found[False] == [one.clamp_min(0) for one in found[True]]


def test_who_is_trained_by_bound_and_fit() -> None:
    torch.manual_seed(0)
    for joint in (False, True):
        bound = InformationBound(3, hidden=6, out=4, joint=joint)
        x = torch.randn(5, 1, 3, requires_grad=True)
        y = torch.randn(5, 1, 4, requires_grad=True)
        information, fit = bound(x, y if joint else y + 3 * bound.estimate(x).detach(), weight=torch.full((5, 1), 0.2))
        weights = list(bound.parameters())
        slopes = [
            torch.autograd.grad(term, [x, weights[0]], allow_unused=True, retain_graph=True)
            for term in (information, fit)
        ]
        moved = [[slope is not None and bool(slope.any()) for slope in pair] for pair in slopes]
        assert moved == ([[True, True]] * 2 if joint else [[True, False], [False, True]])


def test_parts_that_a_patient_lacks_do_not_count() -> None:
    torch.manual_seed(0)
    bound = InformationBound(3, hidden=6, out=4, joint=True)
    x, y = torch.randn(4, 2, 3), torch.randn(4, 2, 4)
    weight = torch.tensor([[0.125, 0.125], [0.25, 0], [0.125, 0.125], [0.125, 0.125]])
    found = bound(x, y, weight=weight)
    y[1, 1], x[1, 1] = 1e3, 1e3
    torch.testing.assert_close(bound(x, y, weight=weight), found)


def test_mean_of_samples_is_distributed_as_one() -> None:
    torch.manual_seed(0)
    means, deviations = torch.full((20_000,), 3.0), torch.full((20_000,), 2.0)
    assert torch.equal(mean_of_samples(means, deviations, samples=None), means)
    drawn = mean_of_samples(means, deviations, samples=50)
    assert float(drawn.mean()) == pytest.approx(3, abs=0.01)
    assert float(drawn.std()) == pytest.approx(2 / 50**0.5, rel=0.03)


def test_prototypes_are_told_their_own_outcomes() -> None:
    """Hazards near 0 before its bin and near 1 in it suit an event; near 0 up to its bin suit one who lives on."""
    bottleneck = Bottleneck(3, hidden=4, out=8, bins=4, dropout=0.0, samples=50)
    logits = torch.full((8, 4), -20.0)
    logits[4:] += 40 * torch.eye(4)
    bottleneck.classifier.weight.data = logits.T
    bottleneck.classifier.bias.data.zero_()
    assert bottleneck.likelihood(torch.eye(8), censored_weight=0.5) < 1e-6
    mixed = torch.eye(8).flip(0)
    assert bottleneck.likelihood(mixed, censored_weight=0.5) > 20


def test_block_reads_its_context_as_attention_does() -> None:
    torch.manual_seed(0)
    block = SharedBlock(8, heads=2, dropout=0.1).eval()
    own, other = torch.randn(2, 1, 8), torch.randn(2, 5, 8)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    first = block.project(own, mask=torch.ones(2, 1, dtype=torch.bool))
    second = block.project(other, mask=mask)
    found = block(own, query=first.query, context=[first, second])
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    attention.in_proj_weight.data, attention.in_proj_bias.data = (
        block.query_key_value.weight.data,
        block.query_key_value.bias.data,
    )
    attention.out_proj.weight.data, attention.out_proj.bias.data = block.out[0].weight.data, block.out[0].bias.data
    context = block.norm_in(torch.cat([own, other], dim=1))
    padding = ~torch.cat([torch.ones(2, 1, dtype=torch.bool), mask], dim=1)
    read, _ = attention(block.norm_in(own), context, context, key_padding_mask=padding)
    expected = own + read
    torch.testing.assert_close(found, expected + block.perceptron(expected))


def test_attention_is_left_out_for_whole_bags_and_keeps_its_mean() -> None:
    torch.manual_seed(0)
    block, bags = SharedBlock(8, heads=2, dropout=0.0).train(), 4000
    block.drop_path, block.perceptron = 0.2, torch.nn.Identity()  # which gives what was read twice
    tokens = torch.randn(1, 3, 8).expand(bags, -1, -1)
    projected = block.project(tokens, mask=torch.ones(bags, 3, dtype=torch.bool))
    found = block(tokens, query=projected.query, context=[projected]) / 2 - tokens
    attended = block.eval()(tokens, query=projected.query, context=[projected]) / 2 - tokens
    left_out = (found == 0).all(dim=(1, 2))
    assert float(left_out.float().mean()) == pytest.approx(0.2, abs=0.02)
    torch.testing.assert_close(found[~left_out], attended[~left_out] / 0.8)


def test_released_divides_auxiliary_terms_by_the_batch_and_takes_deviations_for_variances() -> None:
    paper, released = pibd().train(), pibd(preset="released").train()
    whole = labelled(batch((9, 5, 2)))
    first, second = seeded(paper, whole), seeded(released, whole)
    for name in ("prototype", "classification", "prior"):
        torch.testing.assert_close(second.losses[name], first.losses[name] / 3)
    kinds = torch.tensor([0, 5]), torch.tensor([1, 5])
    joint = {model: model.eval()._joint(*kinds)[:, 0] for model in (paper, released)}
    means = [paper.histology_bottleneck.means[kinds[0]], paper.gene_bottleneck.means[kinds[1]]]
    spread = [paper.histology_bottleneck.deviations[kinds[0]], paper.gene_bottleneck.deviations[kinds[1]]]
    for model, power in ((paper, 2), (released, 1)):
        inverse = [1 / one**power for one in spread]
        expected = (means[0] * inverse[0] + means[1] * inverse[1]) / (inverse[0] + inverse[1])
        torch.testing.assert_close(joint[model], expected)


def test_four_outputs_have_the_published_number_of_parameters() -> None:
    sets = [np.arange(100 * number, 100 * (number + 1)) for number in range(6)]
    model = PIBD(model_sections.PIBD(architecture="pibd"), feature_dim=1024, pathways=sets, outputs=4)
    assert sum(p.numel() for p in model.parameters()) == 3_255_054


def test_a_patient_and_a_pathway_and_a_patch_alone() -> None:
    model = PIBD(model_sections.PIBD(architecture="pibd"), feature_dim=WIDTH, pathways=SETS[:1]).train()
    output = model(labelled(batch((1,))))
    assert output.scores.isfinite().all()
    assert all(value.isfinite() for value in output.losses.values())
    assert output.losses["information"].abs() < 1e-5


def test_width_that_heads_cannot_share() -> None:
    with pytest.raises(ValueError, match="multiple of heads, found 10 and 4"):
        model_sections.PIBD(architecture="pibd", hidden_dim=10)
