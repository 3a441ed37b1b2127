"""MRePath: its hyperedges, the weights of the modalities, its alignment."""

from typing import Any

import pytest
import torch

from tests.models.test_baselines import batch, build
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.mrepath import MRePath, Rebalance

LENGTHS = (9, 1, 4, 6)


def mrepath(**options: Any) -> MRePath:
    model = build("mrepath", **options)
    assert isinstance(model, MRePath)
    return model


def test_hyperedges_are_of_size_five_include_the_centre_and_stay_in_the_bag() -> None:
    whole = batch(LENGTHS)
    graph = mrepath().hypergraph(whole)
    patches = sum(LENGTHS)
    owner = torch.tensor(LENGTHS).repeat_interleave(torch.tensor(LENGTHS))
    own = torch.arange(len(LENGTHS)).repeat_interleave(torch.tensor(LENGTHS))
    assert torch.equal(graph.size, owner.clamp_max(5).repeat(2))  # by features, then by order
    assert not torch.equal(graph.node[graph.edge < patches], graph.node[graph.edge >= patches])
    for edge in range(2 * patches):
        members, centre = graph.node[graph.edge == edge], edge % patches
        assert len(members.unique()) == len(members)
        assert centre in members
        assert (own[members] == own[centre]).all()


@pytest.mark.parametrize("neighbourhoods", [("features",), ("order",), ("features", "order")])
def test_only_neighbours_by_order_see_the_order(neighbourhoods: tuple[str, ...]) -> None:
    model, whole = mrepath(neighbourhoods=neighbourhoods), batch((12, 12))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = Batch(whole.features[:, order], whole.mask, whole.expression)
    distances = (model(shuffled).scores - model(whole).scores).abs().flatten()
    if "order" in neighbourhoods:
        assert distances.min() > 1e-5
    else:
        assert distances.max() < 1e-6


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
