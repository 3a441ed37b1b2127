import math

import pytest
import torch
from torch import Tensor

from tta_pipeline.models.transmil_body import PPEG, TransMILBody, squared

LENGTHS = (10, 1, 17, 5, 10, 2)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def bags(*, garbage: float, width: int = 8) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    mask = torch.arange(max(LENGTHS) + 2) < torch.tensor(LENGTHS)[:, None]
    tokens = torch.randn(*mask.shape, width)
    return tokens.masked_fill(~mask[..., None], garbage), mask


def body(width: int = 8, **options: object) -> TransMILBody:
    torch.manual_seed(0)
    return TransMILBody(width, heads=2, **{"landmarks": 4} | options).eval()


def test_parameters_are_as_many_as_published() -> None:
    transmil = 1024 * 512 + 512 + count(TransMILBody(512, landmarks=256)) + 513
    assert transmil == 2_671_633
    histology = count(TransMILBody(256, landmarks=128))
    genes = count(TransMILBody(256, landmarks=None, grid=False))
    assert count(TransMILBody(256, landmarks=128, grid=False, null_tokens=True)) == genes
    rest = 1024 * 256 + 256 + 256 * 257 + 600 * 1024 + 6 * 263_424 + 2 * 263_168 + 197_120 + 257
    assert 2 * histology + 2 * genes + rest == 5_399_361  # CMTA


@pytest.mark.parametrize(
    "options", [{}, {"null_tokens": True}, {"landmarks": None, "grid": False}, {"class_tokens": 2}]
)
def test_a_batch_of_unequal_bags_is_its_bags_one_by_one(options: dict[str, object]) -> None:
    module, (tokens, mask) = body(**options), bags(garbage=1e30)
    tokens.requires_grad_()
    summary, encoded, present = module(tokens, mask=mask)
    for row, length in enumerate(LENGTHS):
        alone, others, whole = module(tokens[row : row + 1, :length])
        assert whole.all()
        torch.testing.assert_close(summary[row], alone[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(encoded[row, present[row]], others[0], rtol=1e-5, atol=1e-6)
        side = math.ceil(math.sqrt(length))
        assert int(present[row].sum()) == (length if "grid" in options else side**2)
    assert not encoded[~present].any()
    summary.square().sum().backward()
    assert not tokens.grad[~mask].any()
    assert tokens.grad[mask].isfinite().all()
    assert tokens.grad[mask].any(dim=1).all()


@pytest.mark.parametrize("lengths", [LENGTHS, (17,)])
def test_chunks_that_are_encoded_again_give_the_same_gradient(
    lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, mask = body(dropout=0.0 if len(lengths) > 1 else 0.5).train(), bags(garbage=0.0)[1][:, :17]
    tokens, mask = torch.randn(len(lengths), 17, 8), mask if len(lengths) > 1 else mask[2:3]
    slopes = []
    for chunk in (2**13, 12):
        monkeypatch.setattr("tta_pipeline.models.transmil_body._CHUNK_TOKENS", chunk)
        torch.manual_seed(1)  # of the dropout
        module.zero_grad()
        given = tokens.clone().requires_grad_()
        summary, encoded, _ = module(given, mask=mask)
        (summary.square().sum() + encoded.square().sum()).backward()
        slopes.append([summary, encoded, given.grad, *(weights.grad.clone() for weights in module.parameters())])
    for whole, again in zip(*slopes, strict=True):
        torch.testing.assert_close(again, whole, rtol=1e-4, atol=1e-5)


def test_padding_between_tokens_is_left_out() -> None:
    module, tokens = body(), torch.randn(1, 5, 8)
    mask = torch.tensor([[False, True, True, False, True]])
    found, _, _ = module(tokens, mask=mask)
    torch.testing.assert_close(found, module(tokens[:, [1, 2, 4]])[0])


def test_an_encoded_square_can_be_decoded_without_another_repetition() -> None:
    module, (tokens, mask) = body(), bags(garbage=0.0)
    _, encoded, present = module(tokens, mask=mask)
    _, again, still = body(class_std=1e-6)(encoded, mask=present)
    assert torch.equal(present, still)
    assert again.shape == encoded.shape


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 10, 16, 17])
def test_a_square_is_filled_with_the_first_tokens(length: int) -> None:
    side = math.ceil(math.sqrt(length))
    indices = squared(torch.arange(float(length))[None, :, None])[0, :, 0].tolist()
    assert indices == [*range(length), *range(side**2 - length)]


def test_ppeg_is_the_sum_of_three_convolutions() -> None:
    torch.manual_seed(0)
    module, tokens = PPEG(6), torch.randn(2, 25, 6)
    grid = tokens.reshape(2, 5, 5, 6).permute(0, 3, 1, 2)  # row by row
    expected = grid + module.wide(grid) + module.middle(grid) + module.narrow(grid)
    torch.testing.assert_close(module(tokens), expected.permute(0, 2, 3, 1).reshape(2, 25, 6))


def test_the_body_is_its_formula() -> None:
    module, tokens = body(), torch.randn(1, 4, 8)
    hidden = torch.cat([module.class_token[None, None], tokens], dim=1)
    hidden = hidden + module.attentions[0](module.norms[0](hidden))
    hidden = torch.cat([hidden[:, :1], module.grid(hidden[:, 1:])], dim=1)
    hidden = hidden + module.attentions[1](module.norms[1](hidden))
    expected = module.norm_out(hidden)
    summary, encoded, _ = module(tokens)
    torch.testing.assert_close(summary, expected[:, 0])
    torch.testing.assert_close(encoded, expected[:, 1:])


def test_the_class_token_starts_as_told() -> None:
    torch.manual_seed(0)
    for std in (1.0, 1e-6):
        token = TransMILBody(512, landmarks=2, heads=1, grid=False, class_std=std).class_token
        assert float(token.detach().std()) == pytest.approx(std, rel=0.15)


def test_several_class_tokens_stand_before_the_grid() -> None:
    """Without what attention adds, each is its own norm, and the others are the convolutions' alone."""
    module, (tokens, mask) = body(class_tokens=3), bags(garbage=1e30)
    for attention in module.attentions:
        torch.nn.init.zeros_(attention.out.weight)
        torch.nn.init.zeros_(attention.out.bias)
    summary, encoded, present = module(tokens, mask=mask)
    expected = module.norm_out(module.class_token.view(3, 8)).flatten()
    torch.testing.assert_close(summary, expected.expand(len(LENGTHS), -1))
    assert present.sum(dim=1).tolist() == [(math.isqrt(length - 1) + 1) ** 2 for length in LENGTHS]
    assert module.grid is not None
    alone = module.norm_out(module.grid(squared(tokens[:1, : LENGTHS[0]])))[0]
    torch.testing.assert_close(encoded[0][present[0]], alone)
