import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from tta_pipeline.models.nystrom import NystromAttention, pseudo_inverse, segment_means


def attention(width: int = 8, *, sharp: float = 1.0, **options: object) -> NystromAttention:
    """In double precision; `sharp` scales the logits, and makes the landmarks' matrix well conditioned."""
    torch.manual_seed(0)
    module = NystromAttention(width, heads=2, **options).double().eval()
    with torch.no_grad():
        module.query_key_value.weight[width : 2 * width] = sharp * module.query_key_value.weight[:width]  # k = sharp q
    return module


def heads_of(module: NystromAttention, tokens: Tensor) -> list[Tensor]:
    """Query, key, value, each (heads, tokens, width / heads), of the only bag."""
    return [
        part.reshape(len(part), 2, -1).transpose(0, 1) for part in module.query_key_value(tokens[0]).chunk(3, dim=-1)
    ]


def finished(module: NystromAttention, mixed: Tensor, value: Tensor) -> Tensor:
    """Heads with the convolution of the values added, joined and projected."""
    kernel = module.convolution.weight.view(2, 1, 33)
    columns = value.transpose(0, 2)  # (width / heads, tokens, heads)
    around = conv1d(columns.transpose(1, 2), kernel, padding=16, groups=2)  # (width / heads, heads, tokens)
    return module.out((mixed + around.permute(1, 2, 0)).transpose(0, 1).flatten(1))


def exact(module: NystromAttention, tokens: Tensor, *, nulls: int = 0) -> Tensor:
    """softmax(q k^T) v with so many zero keys and values beside the real ones."""
    query, key, value = heads_of(module, tokens)
    keys, values = (pad(part, (0, 0, nulls, 0)) for part in (key, value))
    weights = (query @ keys.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
    return finished(module, weights @ values, value)


def test_parameters_are_as_many_as_published() -> None:
    module = NystromAttention(512, landmarks=256)
    assert sum(parameter.numel() for parameter in module.parameters()) == 3 * 512**2 + 8 * 33 + 512**2 + 512


@pytest.mark.parametrize("landmarks", [7, 12])
def test_with_a_landmark_per_token_it_is_exact_attention(landmarks: int) -> None:
    tokens = torch.randn(1, 7, 8, dtype=torch.float64)
    module = attention(sharp=4.0, landmarks=landmarks, rounds=30)
    torch.testing.assert_close(module(tokens)[0], exact(module, tokens), rtol=0, atol=1e-4)
    module.rounds = 1
    assert not torch.allclose(module(tokens)[0], exact(module, tokens), rtol=0, atol=1e-4)


def test_without_landmarks_it_is_exact_attention() -> None:
    tokens = torch.randn(1, 50, 8, dtype=torch.float64)
    module = attention(landmarks=None)
    torch.testing.assert_close(module(tokens)[0], exact(module, tokens))


def test_null_tokens_are_zero_keys_and_values_beside_the_real_ones() -> None:
    tokens = torch.randn(1, 7, 8, dtype=torch.float64)
    module = attention(landmarks=128, null_tokens=True, rounds=40)
    torch.testing.assert_close(module(tokens)[0], exact(module, tokens, nulls=121), rtol=0, atol=1e-6)
    assert not torch.allclose(module(tokens)[0], exact(module, tokens), rtol=0, atol=1e-3)


@pytest.mark.parametrize("null_tokens", [True, False])
@pytest.mark.parametrize("count", [1, 5, 6, 13, 24, 25])
def test_it_is_the_formula_of_landmarks(count: int, null_tokens: bool) -> None:
    module, tokens = attention(landmarks=6, null_tokens=null_tokens), torch.randn(1, count, 8, dtype=torch.float64)
    query, key, value = heads_of(module, tokens)
    length = -(-count // 6)
    missing = 6 * length - count
    segment = (torch.arange(count) + missing) // length
    belongs = torch.zeros(6, count, dtype=torch.float64)
    belongs[segment, torch.arange(count)] = 1.0
    keys, values = key, value
    if null_tokens:
        belongs /= length
        keys, values = (pad(part, (0, 0, missing, 0)) for part in (key, value))
    else:
        belongs = belongs[belongs.any(dim=1)]
        belongs /= belongs.sum(dim=1, keepdim=True)
    few_queries, few_keys = belongs @ query, belongs @ key
    first = (query @ few_keys.mT / 2).softmax(dim=-1)
    middle = (few_queries @ few_keys.mT / 2).softmax(dim=-1)
    last = (few_queries @ keys.mT / 2).softmax(dim=-1)
    mixed = torch.stack(
        [first[head] @ by_hand(middle[head]) @ last[head] @ values[head] for head in range(2)]
    )  # (heads, tokens, width / heads)
    torch.testing.assert_close(module(tokens)[0], finished(module, mixed, value), rtol=1e-8, atol=1e-10)


def by_hand(matrix: Tensor, rounds: int = 6) -> Tensor:
    """Six rounds of Razavi's iteration, as it is written."""
    one = torch.eye(len(matrix), dtype=matrix.dtype)
    z = matrix.T / (matrix.sum(dim=0).max() * matrix.sum(dim=1).max())
    for _ in range(rounds):
        z = 0.25 * z @ (13 * one - matrix @ z @ (15 * one - matrix @ z @ (7 * one - matrix @ z)))
    return z


def test_pseudo_inverse_is_the_inverse_and_belongs_to_its_matrix_alone() -> None:
    torch.manual_seed(0)
    matrices = (5 * torch.randn(3, 2, 6, 6, dtype=torch.float64)).softmax(dim=-1)
    found = pseudo_inverse(matrices, rounds=40)
    torch.testing.assert_close(found, torch.linalg.inv(matrices), rtol=1e-6, atol=1e-6)
    alone = pseudo_inverse(matrices[1:2, 1:2], rounds=6)[0, 0]
    torch.testing.assert_close(pseudo_inverse(matrices, rounds=6)[1, 1], alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(alone, by_hand(matrices[1, 1]))


def test_pseudo_inverse_of_a_singular_matrix_obeys_penrose() -> None:
    matrix = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(pseudo_inverse(matrix, rounds=20), torch.linalg.pinv(matrix))


def test_segments_lack_tokens_in_front() -> None:
    tokens = torch.arange(7.0)[:, None]
    assert segment_means(tokens, segments=3).flatten().tolist() == [0.0, 2.0, 5.0]  # (0), (1, 2, 3), (4, 5, 6)
    assert segment_means(tokens, segments=5).flatten().tolist() == [0.0, 1.5, 3.5, 5.5]  # the fifth has none
    assert torch.equal(segment_means(tokens, segments=9), tokens)


def test_gradient_in_double_precision() -> None:
    module = attention(landmarks=3)
    tokens = torch.randn(1, 7, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, tokens)


def test_dropout_is_of_the_output_and_off_in_evaluation() -> None:
    module, tokens = attention(landmarks=3, dropout=0.5), torch.randn(1, 400, 8, dtype=torch.float64)
    whole = module(tokens)
    torch.testing.assert_close(module(tokens), whole, rtol=0, atol=0)
    dropped = module.train()(tokens)
    assert float((dropped == 0).double().mean()) == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(dropped[dropped != 0], 2 * whole[dropped != 0])


def test_projections_start_as_torch_does() -> None:
    torch.manual_seed(0)
    module = NystromAttention(64, landmarks=4)
    torch.manual_seed(0)
    torch.testing.assert_close(module.query_key_value.weight, nn.Linear(64, 192, bias=False).weight)
