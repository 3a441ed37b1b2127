import pytest
import torch
from torch.nn import functional as F

from tta_pipeline.models.dropout import alpha_dropout, dropout


def test_dropout_drops_each_entry_alike_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    ones = torch.ones(999, 1001, requires_grad=True)  # not a multiple of four
    dropped = dropout(ones, 0.3, training=True)
    assert dropped.detach().unique().tolist() == pytest.approx([0, 1 / 0.7], abs=1e-4)
    lost = (dropped == 0).flatten()
    for quarter in range(4):
        assert float(lost[quarter::4].float().mean()) == pytest.approx(0.3, abs=0.005)
    together = (lost[:-1] & lost[1:]).float().mean()
    assert float(together) == pytest.approx(0.09, abs=0.005)
    dropped.sum().backward()
    assert torch.equal(ones.grad, dropped.detach())


def test_dropout_follows_the_seed_and_is_off_in_evaluation() -> None:
    hidden = torch.randn(5, 7)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(dropout(hidden, 0.5, training=True))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(dropout(hidden, 0.5, training=False), hidden)
    assert torch.equal(dropout(hidden, 0.0, training=True), hidden)


def test_alpha_dropout_is_that_of_torch_with_other_draws() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(400, 500, requires_grad=True)
    ours, theirs = alpha_dropout(hidden, 0.25, training=True), F.alpha_dropout(hidden, 0.25, training=True)
    assert float(ours.detach().mean()) == pytest.approx(0, abs=0.01)
    assert float(ours.detach().var()) == pytest.approx(1, abs=0.01)
    ours.sum().backward()
    kept = hidden.grad != 0
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.005)
    also = kept & torch.isin(theirs, theirs.flatten().mode().values, invert=True)  # their dropped ones are all equal
    torch.testing.assert_close(ours[also], theirs[also])
    torch.testing.assert_close(ours[~kept], theirs.flatten().mode().values.expand(int((~kept).sum())))


def test_alpha_dropout_is_off_in_evaluation() -> None:
    hidden = torch.randn(5, 7)
    assert torch.equal(alpha_dropout(hidden, 0.5, training=False), hidden)
    assert torch.equal(alpha_dropout(hidden, 0.0, training=True), hidden)
