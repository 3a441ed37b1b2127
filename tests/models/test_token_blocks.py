from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline.models.token_blocks import CrossAttention, EncoderLayer, masked_mean

LENGTHS = (7, 1, 4)


def bags(width: int, *, garbage: float = 1e4) -> tuple[Tensor, Tensor]:
    """Tokens (3, 9, width) with garbage as padding, and their mask."""
    mask = torch.arange(9) < torch.tensor(LENGTHS)[:, None]
    tokens = torch.randn(3, 9, width)
    return torch.where(mask[..., None], tokens, torch.full_like(tokens, garbage)), mask


def test_parameters_are_as_many_as_published() -> None:
    counts = [sum(weights.numel() for weights in module.parameters()) for module in (EncoderLayer(), CrossAttention())]
    assert counts == [527_104, 263_168]


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_layer_is_its_formula(activation: Literal["relu", "gelu"], gradient: bool) -> None:
    torch.manual_seed(0)
    module, (tokens, mask) = EncoderLayer(8, heads=2, hidden=12, activation=activation).eval(), bags(8)
    layer = module.layer
    with torch.set_grad_enabled(gradient):
        found = module(tokens, mask=mask)
    query, key, value = (
        part.unflatten(-1, (2, 4)).transpose(1, 2)
        for part in (tokens @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).chunk(3, dim=-1)
    )
    logits = (query @ key.transpose(2, 3) / 2).masked_fill(~mask[:, None, None], -torch.inf)
    mixed = (logits.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    hidden = layer.norm1(tokens + layer.self_attn.out_proj(mixed))
    expected = layer.norm2(hidden + layer.linear2(getattr(F, activation)(layer.linear1(hidden))))
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-4, atol=1e-5)
    assert not found[~mask].any()


@pytest.mark.parametrize("patients_at_once", [1, 2, 3])
def test_encoder_layer_is_that_of_torch_in_training(patients_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a chance of dropping that nothing meets, to leave the draws out of it."""
    monkeypatch.setattr("tta_pipeline.models.token_blocks._CACHED", patients_at_once * 2 * 9**2)
    torch.manual_seed(0)
    module, (tokens, mask) = EncoderLayer(8, heads=2, hidden=12, dropout=1e-9).train(), bags(8, garbage=0)
    slopes = []
    for found in (module(tokens, mask=mask), module.layer(tokens, src_key_padding_mask=~mask)):
        module.zero_grad()
        found[mask].square().sum().backward()
        slopes.append([found[mask], *(weights.grad.clone() for weights in module.parameters())])
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_encoder_layer_drops_entries_of_the_attention() -> None:
    """Equal values are read unchanged by any attention of sum 1, so what varies has been dropped."""
    torch.manual_seed(0)
    module = EncoderLayer(8, heads=2, hidden=12, dropout=0.5).train()
    read = module._read(torch.ones(1, 64, 24), mask=None)[0]  # (64, 8)
    chance = read[:, ::4].flatten()  # a number per token and head
    assert float(chance.mean()) == pytest.approx(1, abs=0.05)
    assert float(chance.std()) == pytest.approx(64**-0.5, rel=0.2)


@torch.no_grad()
def test_encoder_layer_varies_in_training_as_that_of_torch_does() -> None:
    """Moments over many draws: what is dropped, and where, shows in the spread of each output."""
    torch.manual_seed(0)
    draws, module = 20_000, EncoderLayer(8, heads=2, hidden=12, dropout=0.3).train()
    for weights in module.parameters():  # either sublayer's part is as large as the residual
        weights.mul_(2.0)
    tokens = torch.randn(3, 8).expand(draws, -1, -1)
    ours, theirs = (layer(tokens).double() for layer in (module, module.layer))  # (draws, 3, 8)
    error = (2 / draws) ** 0.5  # of a difference of two means, in standard deviations of a draw
    for first, second in ((ours, theirs), ((ours - ours.mean(dim=0)).square(), (theirs - theirs.mean(dim=0)).square())):
        apart = (first.mean(dim=0) - second.mean(dim=0)) / second.std(dim=0)
        assert float(apart.abs().max()) < 4 * error


def test_cross_attention_is_its_formula() -> None:
    torch.manual_seed(0)
    module, (tokens, mask), queries = CrossAttention(8), bags(8), torch.randn(3, 2, 8)
    read, attention = module(queries, tokens=tokens, mask=mask)
    assert not attention[~mask[:, None].expand_as(attention)].any()
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(3, 2))
    inner = module.attention
    assert not inner.in_proj_bias.any()
    wq, wk, wv = inner.in_proj_weight.chunk(3)
    logits = (queries @ wq.T) @ (tokens @ wk.T).transpose(1, 2) / 8**0.5
    weights = logits.masked_fill(~mask[:, None], -torch.inf).softmax(dim=-1)
    torch.testing.assert_close(attention, weights)
    torch.testing.assert_close(read, inner.out_proj(weights @ (tokens @ wv.T)))


@pytest.mark.parametrize(("queries", "tokens"), [(2, 9), (9, 2), (1, 1)])
def test_cross_attention_is_the_layer_of_torch(queries: int, tokens: int) -> None:
    torch.manual_seed(0)
    module = CrossAttention(8)
    nn.init.normal_(module.attention.in_proj_bias)
    asked, others = torch.randn(3, queries, 8), torch.randn(3, tokens, 8)
    mask = torch.arange(tokens) < torch.tensor([tokens, 1, max(1, tokens - 2)])[:, None]
    slopes = []
    for found in (
        module(asked, tokens=others, mask=mask),
        module.attention(asked, others, others, key_padding_mask=~mask),
    ):
        module.zero_grad()
        found[0].square().sum().backward()
        slopes.append([*found, *(weights.grad.clone() for weights in module.parameters())])
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_equal_tokens_are_read_alike_by_every_query() -> None:
    torch.manual_seed(0)
    read, _ = CrossAttention(8)(torch.randn(1, 4, 8), tokens=torch.randn(1, 1, 8).expand(1, 5, 8))
    torch.testing.assert_close(read[0], read[0, :1].expand(4, 8))


def _read(module: CrossAttention) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda tokens, mask: module(torch.ones(len(tokens), 2, 8), tokens=tokens, mask=mask)[0]


def _encoded(module: EncoderLayer) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda tokens, mask: module(tokens, mask=mask)


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("block", ["encoder", "cross", "mean"])
def test_padding_changes_neither_a_result_nor_a_gradient(block: str, gradient: bool) -> None:
    torch.manual_seed(0)
    run = {
        "encoder": _encoded(EncoderLayer(8, heads=2, hidden=12).eval()),
        "cross": _read(CrossAttention(8).eval()),
        "mean": lambda tokens, mask: masked_mean(tokens, mask=mask),
    }[block]
    tokens, mask = bags(8, garbage=1e30)
    tokens.requires_grad_(gradient)
    together = run(tokens, mask)
    if gradient:
        together.square().sum().backward()
        assert not tokens.grad[~mask].any()
        assert tokens.grad[mask].isfinite().all()
    for row, length in enumerate(LENGTHS):
        alone = run(tokens[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool))
        found = together[row, :length] if block == "encoder" else together[row]
        torch.testing.assert_close(found, alone[0], rtol=1e-5, atol=1e-6)


def test_mean_over_real_tokens() -> None:
    tokens, mask = bags(8)
    torch.testing.assert_close(masked_mean(tokens, mask=mask)[2], tokens[2, :4].mean(dim=0))
    torch.testing.assert_close(masked_mean(tokens), tokens.mean(dim=1))
