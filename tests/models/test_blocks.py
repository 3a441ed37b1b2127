import torch

from tta_pipeline.models.blocks import GatedAttention

LENGTHS = (7, 1, 4)


def bags(width: int, *, garbage: float = 1e4) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (3, 9, width) with garbage as padding, and their mask."""
    mask = torch.arange(9) < torch.tensor(LENGTHS)[:, None]
    tokens = torch.randn(3, 9, width)
    return torch.where(mask[..., None], tokens, torch.full_like(tokens, garbage)), mask


def test_attention_is_a_distribution_over_real_tokens() -> None:
    torch.manual_seed(0)
    tokens, mask = bags(8)
    module = GatedAttention(8, 5, dropout=0.25).eval()
    pooled, attention = module(tokens, mask), module.attention(tokens, mask)
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(3))
    assert not attention[~mask].any()
    torch.testing.assert_close(pooled, torch.einsum("bn,bnd->bd", attention, tokens))
    torch.testing.assert_close(pooled[1], tokens[1, 0])  # a bag of one patch


def test_gated_attention_is_its_formula() -> None:
    torch.manual_seed(0)
    module, tokens = GatedAttention(8, 5, dropout=0.25).eval(), torch.randn(1, 6, 8)
    attention = module.attention(tokens, torch.ones(1, 6, dtype=torch.bool))
    gated = (tokens[0] @ module.value[0].weight.T + module.value[0].bias).tanh()
    gated = gated / (1 + (-(tokens[0] @ module.gate[0].weight.T + module.gate[0].bias)).exp())
    expected = (gated @ module.score.weight[0]).exp()
    torch.testing.assert_close(attention[0], expected / expected.sum())


def test_a_patch_twice_has_the_attention_of_two_equal_logits() -> None:
    torch.manual_seed(0)
    module, tokens = GatedAttention(8, 5, dropout=0.25).eval(), torch.randn(1, 6, 8)
    once = module.attention(tokens, torch.ones(1, 6, dtype=torch.bool))
    twice = module.attention(torch.cat([tokens, tokens[:, :1]], dim=1), torch.ones(1, 7, dtype=torch.bool))
    torch.testing.assert_close(twice[0, 0], once[0, 0] / (1 + once[0, 0]))
    torch.testing.assert_close(twice[0, 0], twice[0, 6])
