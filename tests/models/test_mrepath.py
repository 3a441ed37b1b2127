"""MRePath: its hyperedges, the weights of the modalities, its alignment."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.test_baselines import SETS, batch, build
from tta_pipeline.models.mrepath import MRePath, Rebalance

LENGTHS = (9, 1, 4, 6)


def mrepath(**options: Any) -> MRePath:
    model = build("mrepath", **options)
    assert isinstance(model, MRePath)
    return model


@torch.no_grad()
def test_scores_are_those_of_the_formulas() -> None:
    """One patient at a time, from the weights alone, with dense matrices; torch's own LayerNorm."""
    model, whole = mrepath(), batch((9, 7))
    for row, length in enumerate((9, 7)):
        features = whole.features[row, :length]
        hidden = F.relu6(_linear(model.patches[3], F.relu6(_linear(model.patches[0], features))))
        incidence = _incidence(features, places=whole.places[row, :length])
        for number, layer in enumerate(model.convolutions):
            hidden = _diffused(layer, F.elu(hidden) if number else hidden, incidence)
        genes = _gene_tokens(model, whole.expression[row])
        logits = torch.cat(
            [net(one.mean(dim=0)) for net, one in zip(model.rebalance.nets, (genes, hidden), strict=True)]
        )
        unsure = logits.sigmoid().log()
        weight = (logits.sigmoid() + unsure.flip(0) / unsure.sum()).softmax(dim=0)
        tokens = _aligned(model.alignment, weight[0] * genes, weight[1] * hidden)
        both = torch.cat([_fed_forward(model.feed_forward, one).mean(dim=0) for one in tokens])
        expected = _linear(model.head, F.relu(_linear(model.hidden[0], both)))
        torch.testing.assert_close(model(whole).scores[row], expected)


def _linear(layer: nn.Module, rows: Tensor) -> Tensor:
    return rows @ layer.weight.T + layer.bias


def _incidence(features: Tensor, *, places: Tensor) -> Tensor:
    """Patches x hyperedges, the latter by features, then in space, five patches in each or all of a slide."""
    count = len(features)
    dense = torch.zeros(count, 2 * count)
    apart = torch.cdist(places[:, 1:].double(), places[:, 1:].double())
    apart = apart.masked_fill(places[:, None, 0] != places[None, :, 0], torch.inf)
    for kind, distances in enumerate((torch.cdist(features.double(), features.double()), apart)):
        for patch in range(count):
            nearer = distances[patch].argsort()[:5]  # the patch itself among them
            dense[nearer[distances[patch, nearer].isfinite()], kind * count + patch] = 1
    return dense


def _diffused(layer: nn.Module, hidden: Tensor, incidence: Tensor) -> Tensor:
    sizes = incidence.sum(dim=0)
    means = incidence.T @ hidden / sizes[:, None]
    own, of_edge = layer.restriction.weight[0].chunk(2)
    maps = incidence * ((hidden @ own)[:, None] + means @ of_edge + layer.restriction.bias).sigmoid()
    scale = maps.square().sum(dim=1).rsqrt().diag()
    return _linear(layer.linear, scale @ maps @ sizes.reciprocal().diag() @ maps.T @ scale @ hidden)


def _gene_tokens(model: MRePath, expression: Tensor) -> Tensor:
    first, second = model.genes[0], model.genes[3]
    hidden = [
        F.elu(expression[genes] @ weight + bias)
        for genes, weight, bias in zip(SETS, first.weight.split([4, 3, 1]), first.bias, strict=True)
    ]
    return torch.stack([F.elu(one @ second.weight[number] + second.bias[number]) for number, one in enumerate(hidden)])


def _aligned(alignment: nn.Module, genes: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
    among = _read(alignment.among_genes, genes, genes, genes)
    across = _read(alignment.to_patches, among, patches, patches)
    first, second = alignment.perceptron[0], alignment.perceptron[2]
    across = alignment.norm(across + _linear(second, F.relu6(_linear(first, across))))
    read = _read(alignment.to_genes, patches, across, across)
    return _read(alignment.last, across + genes, read + patches, read), read


def _read(module: nn.Module, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    attention = module.attention
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    query, key, value = (
        (tokens @ weight.T + bias).unflatten(1, (4, 2)).transpose(0, 1)  # (heads, tokens, 2)
        for tokens, weight, bias in zip((queries, keys, values), weights, biases, strict=True)
    )
    read = (query @ key.mT / 2**0.5).softmax(dim=-1) @ value
    return module.norm(queries + _linear(attention.out_proj, read.transpose(0, 1).flatten(1)))


def _fed_forward(layers: nn.Module, tokens: Tensor) -> Tensor:
    return layers[5](_linear(layers[4], F.gelu(_linear(layers[1], layers[0](tokens)))))


@torch.no_grad()
@pytest.mark.parametrize(("sure", "expected"), [("genes", (2.0, 0.0)), ("patches", (0.0, 2.0))])
def test_tokens_of_the_modality_that_is_sure_have_the_larger_weight(sure: str, expected: tuple[float, float]) -> None:
    model, whole = mrepath(), batch((9, 5))
    for net, name in zip(model.rebalance.nets, ("genes", "patches"), strict=True):
        net[2].bias.fill_(1e3 if name == sure else -1e3)
    seen: list[tuple[Tensor, Tensor]] = []
    model.alignment.register_forward_pre_hook(
        lambda _, genes, others: seen.append((genes[0], others["patches"])), with_kwargs=True
    )
    model(whole)
    weight = torch.tensor(expected).softmax(dim=0)
    torch.testing.assert_close(seen[0][0], weight[0] * model.genes(whole.expression))
    torch.testing.assert_close(seen[0][1], weight[1] * model.diffused(whole))


@torch.no_grad()
def test_what_a_convolution_gives_is_dropped_from_before_the_next() -> None:
    model, whole = mrepath(dropout=0.5), batch((64,))
    model.train()
    given: list[tuple[Tensor, Tensor]] = []
    for convolution in model.convolutions:
        convolution.register_forward_hook(lambda _, taken, gave: given.append((taken[0], gave)))
    last = model.diffused(whole)
    for (_, gave), (taken, _) in pairwise(given):
        dropped = taken == 0
        assert 0.4 < float(dropped.float().mean()) < 0.6
        torch.testing.assert_close(taken, torch.where(dropped, 0.0, 2 * F.elu(gave)))
    assert torch.equal(last[0], given[-1][1])


def test_hyperedges_are_of_size_five_include_the_centre_and_stay_in_the_bag_or_on_the_slide() -> None:
    whole = batch(LENGTHS)
    graph = mrepath().hypergraph(whole)
    patches = sum(LENGTHS)
    owner = torch.tensor(LENGTHS).repeat_interleave(torch.tensor(LENGTHS))
    own = torch.arange(len(LENGTHS)).repeat_interleave(torch.tensor(LENGTHS))
    slide = whole.places[whole.mask][:, 0]
    on_slide = ((own[:, None] == own) & (slide[:, None] == slide)).sum(dim=1)
    assert torch.equal(graph.size, torch.cat([owner, on_slide]).clamp_max(5))  # by features, then in space
    assert not torch.equal(graph.node[graph.edge < patches], graph.node[graph.edge >= patches])
    for edge in range(2 * patches):
        members, centre = graph.node[graph.edge == edge], edge % patches
        assert len(members.unique()) == len(members)
        assert centre in members
        assert (own[members] == own[centre]).all()
        assert edge < patches or (slide[members] == slide[centre]).all()


@pytest.mark.parametrize("neighbourhoods", [("features",), ("space",), ("features", "space")])
def test_only_neighbours_in_space_see_where_patches_are_and_none_see_their_order(
    neighbourhoods: tuple[str, ...],
) -> None:
    model, whole = mrepath(neighbourhoods=neighbourhoods), batch((30, 30))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    elsewhere = replace(whole, places=whole.places[:, order])
    shuffled = replace(elsewhere, features=whole.features[:, order])
    before = model(whole).scores
    torch.testing.assert_close(model(shuffled).scores, before, rtol=0, atol=1e-6)
    distances = (model(elsewhere).scores - before).abs()
    assert distances.min() > 1e-5 if "space" in neighbourhoods else distances.max() == 0


def test_weights_sum_to_one_and_follow_confidence() -> None:
    torch.manual_seed(0)
    rebalance = Rebalance(4)
    first, second = torch.randn(5, 4), torch.randn(5, 4)
    weights = rebalance(first, second)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    sure = torch.cat([net(one) for net, one in zip(rebalance.nets, (first, second), strict=True)], dim=1).sigmoid()
    share = sure.log().flip(1) / sure.log().sum(dim=1, keepdim=True)
    torch.testing.assert_close(weights, (sure + share).softmax(dim=1))
    for net, bias in zip(rebalance.nets, (1e3, -1e3), strict=True):
        net[2].bias.data.fill_(bias)
    torch.testing.assert_close(rebalance(first, second)[0], torch.tensor([2.0, 0.0]).softmax(dim=0))


def test_without_rebalance_its_nets_are_not_there() -> None:
    with_nets, without, whole = mrepath(), mrepath(rebalance=False), batch((9, 5))
    nets = {name for name in with_nets.state_dict() if name.startswith("rebalance.")}
    assert nets
    assert set(without.state_dict()) == set(with_nets.state_dict()) - nets
    without.load_state_dict({name: value for name, value in with_nets.state_dict().items() if name not in nets})
    assert (without(whole).scores - with_nets(whole).scores).abs().min() > 1e-6


def test_evaluation_is_deterministic_and_training_is_not() -> None:
    model, whole = mrepath(dropout=0.5), batch((9, 5))
    assert torch.equal(model(whole).scores, model(whole).scores)
    model.train()
    assert not torch.equal(model(whole).scores, model(whole).scores)


def test_a_model_without_convolutions() -> None:
    model = mrepath(convolutions=0)
    assert model(batch((9, 1))).scores.isfinite().all()
