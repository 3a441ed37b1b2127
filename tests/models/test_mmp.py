"""MMP: its prototypes, its summaries of bags, and its two fusions against formulas written out."""

from typing import Any

import numpy as np
import ot
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from tests.models.test_baselines import SETS, batch, build, drawn
from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.mmp import MMP
from tta_pipeline.numerics.mixture import fit_mixture
from tta_pipeline.numerics.survival import cox_loss

P, C = len(SETS), 3


def mmp(**options: Any) -> MMP:
    model = build("mmp", **options)
    assert isinstance(model, MMP)
    return model


def tokens_of(model: MMP, whole: Batch) -> tuple[Tensor, Tensor]:
    """Pathway and prototype tokens, each with its own numbers appended."""
    tokens = torch.cat([model.genomics(whole.expression), model.histology(model.summarise(whole))], dim=1)
    identity = model.identity.expand(len(tokens), -1, -1)
    both = torch.cat([tokens, identity], dim=2)
    return both[:, :P], both[:, P:]


def after_attention(model: MMP, attended: Tensor) -> Tensor:
    """Scores: a private net and norm per token, token by token."""
    norm, first, _, _, second = model.feed_forward
    rows = []
    for token in range(attended.shape[1]):
        hidden = F.layer_norm(attended[:, token], attended.shape[2:]) * norm.weight[token] + norm.bias[token]
        hidden = F.gelu(hidden @ first.weight[token] + first.bias[token])
        rows.append(model.norm_out(hidden @ second.weight[token] + second.bias[token]))
    genes, histology = torch.stack(rows[:P]).mean(dim=0), torch.stack(rows[P:]).mean(dim=0)
    return torch.cat([genes, histology], dim=1) @ model.head.weight.T


def attention(model: MMP, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and values."""
    query, _, _ = model.query_key_value(model.norm_in(queries)).chunk(3, dim=2)
    _, key, value = model.query_key_value(model.norm_in(keys)).chunk(3, dim=2)
    return query @ key.transpose(1, 2) / query.shape[2] ** 0.5, value


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_transformer_is_its_formula(preset: str) -> None:
    model, whole = mmp(preset=preset), batch((5, 9))
    genes, histology = tokens_of(model, whole)
    every = torch.cat([genes, histology], dim=1)
    of_genes, values = attention(model, genes, every)
    of_histology, _ = attention(model, histology, every)
    if preset == "released":  # scores to pathways are probabilities already where they meet those to histology
        of_histology = torch.cat([of_histology[:, :, :P].softmax(dim=2), of_histology[:, :, P:]], dim=2)
    attended = torch.cat([of_genes.softmax(dim=2) @ values, of_histology.softmax(dim=2) @ values], dim=1)
    torch.testing.assert_close(model(whole).scores, after_attention(model, attended), rtol=0, atol=1e-5)


def test_released_differs_in_the_rows_of_histology_alone() -> None:
    paper, released = mmp(), mmp(preset="released", prior_strength=1.0, prior_variance=1.0)
    tokens = torch.cat(tokens_of(paper, batch((5, 9))), dim=1)
    first, second = paper._attended(tokens), released._attended(tokens)
    assert torch.equal(first[:, :P], second[:, :P])
    assert (first[:, P:] - second[:, P:]).abs().amax(dim=2).min() > 1e-4


def test_released_priors_are_those_that_the_code_read() -> None:
    released = model_sections.MMP(architecture="mmp", preset="released")
    assert (released.prior_strength, released.prior_variance) == (0.001, 0.1)
    assert model_sections.MMP.model_validate(released.model_dump()) == released
    own = model_sections.MMP(architecture="mmp", preset="released", prior_strength=2.0)
    assert (own.prior_strength, own.prior_variance) == (2.0, 0.1)
    paper = model_sections.MMP(architecture="mmp")
    assert (paper.prior_strength, paper.prior_variance) == (1.0, 1.0)


@pytest.mark.filterwarnings("ignore:If reg_type = entropy")
def test_transport_exchanges_tokens_by_a_plan_that_learns() -> None:
    model, whole = mmp(fusion="ot"), batch((5,))
    genes, histology = tokens_of(model, whole)
    shifted = [(part - part.amin(dim=2, keepdim=True))[0].detach().double().numpy() for part in (histology, genes)]
    cost = ot.dist(*shifted, metric="sqeuclidean")
    plan = ot.unbalanced.sinkhorn_knopp_unbalanced(
        np.full(C, 1 / C), np.full(P, 1 / P), cost / cost.max(), 0.1, 0.5, reg_type="entropy", stopThr=1e-12
    )
    plan = torch.from_numpy(plan).float()[None]
    read, taken = plan.transpose(1, 2) @ histology, plan @ genes
    groups = []
    for part in (read, taken):  # attention within each group
        logits, values = attention(model, part, part)
        groups.append(logits.softmax(dim=2) @ values)
    expected = after_attention(model, torch.cat(groups, dim=1))
    output = model(whole)
    torch.testing.assert_close(output.scores, expected, rtol=0, atol=1e-5)
    assert output.diagnostics["solver_residual"] <= 1e-6
    flows, _ = model._exchanged(torch.cat([genes, histology], dim=1).detach().requires_grad_())
    constant = torch.cat([read, taken], dim=1)
    torch.testing.assert_close(flows, constant, rtol=0, atol=1e-5)
    weights = torch.randn(flows.shape, generator=torch.Generator().manual_seed(0))
    direction = torch.randn(1, P + C, flows.shape[2], generator=torch.Generator().manual_seed(1)).double()
    start = torch.cat([genes, histology], dim=1).detach().double().requires_grad_()
    (slope,) = torch.autograd.grad((model._exchanged(start)[0] * weights).sum(), start)
    step = 1e-5
    sides = [(model._exchanged(start.detach() + sign * step * direction)[0] * weights).sum() for sign in (1, -1)]
    assert float((slope * direction).sum()) == pytest.approx(float(sides[0] - sides[1]) / (2 * step), rel=1e-3)


def test_partial_leaves_out_what_prototypes_read_of_prototypes() -> None:
    model, whole = mmp(fusion="partial"), batch((5, 9))
    full = mmp()
    full.load_state_dict({name.replace("partial.", ""): value for name, value in model.state_dict().items()})
    genes, histology = tokens_of(full, whole)
    every = torch.cat([genes, histology], dim=1)
    of_genes, values = attention(full, genes, every)
    of_histology, _ = attention(full, histology, genes)
    attended = torch.cat([of_genes.softmax(dim=2) @ values, of_histology.softmax(dim=2) @ values[:, :P]], dim=1)
    torch.testing.assert_close(model(whole).scores, after_attention(full, attended), rtol=0, atol=1e-5)


def test_without_attention_tokens_do_not_meet() -> None:
    model, whole = mmp(fusion="none"), batch((5, 9))
    tokens = torch.cat(tokens_of(model, whole), dim=1)
    torch.testing.assert_close(model(whole).scores, after_attention(model, tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize("fusion", ["transformer", "none"])
@pytest.mark.parametrize("pooling", ["mean", "concat"])
@pytest.mark.parametrize("modality", ["genomics", "histology"])
def test_one_modality_alone(modality: str, pooling: str, fusion: str) -> None:
    model, whole = mmp(modalities=(modality,), pooling=pooling, fusion=fusion), batch((5, 9))
    assert model.modalities == (modality,)
    before, genes = model(whole).scores, modality == "genomics"
    assert torch.equal(model(Batch(whole.features + 1, whole.mask, whole.expression)).scores, before) == genes
    assert torch.equal(model(Batch(whole.features, whole.mask, whole.expression + 1)).scores, before) != genes


def test_outputs_of_prototypes_side_by_side() -> None:
    model, whole, mean = mmp(pooling="concat"), batch((5, 9)), mmp()
    width = mean.head.weight.shape[1] // 2
    assert model.head.weight.shape[1] == (1 + C) * width
    state = mean.state_dict()
    genes, histology = state["head.weight"].split(width, dim=1)
    model.load_state_dict(state | {"head.weight": torch.cat([genes, histology.repeat(1, C) / C], dim=1)})
    torch.testing.assert_close(model(whole).scores, mean(whole).scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": ("genomics",), "fusion": "ot"}, "fusion ot is between two modalities, found genomics alone"),
        ({"modalities": ("genomics", "genomics")}, "modalities must be named once"),
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model_sections.MMP(architecture="mmp", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"fusion": "ot"},
        {"fusion": "partial"},
        {"fusion": "none", "pooling": "concat"},
        {"summary": "transport"},
        {"preset": "released"},
        {"modalities": ("genomics",)},
        {"modalities": ("histology",)},
    ],
)
def test_variants_keep_the_laws(options: dict[str, Any]) -> None:
    model, whole = mmp(**options), batch((5, 1, 9))
    expected = model(whole).scores
    garbage = Batch(whole.features.masked_fill(~whole.mask[..., None], 1e6), whole.mask, whole.expression)
    torch.testing.assert_close(model(garbage).scores, expected, rtol=0, atol=1e-5)
    for row, length in enumerate((5, 1, 9)):
        one = Batch(whole.features[row, None, :length], whole.mask[row, None, :length], whole.expression[row, None])
        torch.testing.assert_close(model(one).scores, expected[[row]], rtol=0, atol=1e-5)
    model.train()
    time_days, event = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, True, False])
    cox_loss(model(whole).scores[:, 0], time_days=time_days, event=event).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_all_fusions_have_one_size_and_a_sum_needs_no_variances() -> None:
    def size(**options: Any) -> int:
        return sum(p.numel() for p in mmp(**options).parameters())

    assert size(fusion="ot") == size(fusion="partial") == size()
    assert size(summary="transport") == size() - 8 * (7 + 1)


def test_fifty_sets_have_the_published_number_of_parameters() -> None:
    sets = [np.arange(100 * number, 100 * (number + 1)) for number in range(50)]
    model = MMP(model_sections.MMP(architecture="mmp"), feature_dim=1024, pathways=sets)
    assert sum(p.numel() for p in model.parameters()) == 8_010_336 - 288  # published: and a norm that nothing uses


def test_single_precision_is_good_enough_for_a_summary() -> None:
    model, whole = mmp(), batch((40, 3))
    mixture = fit_mixture(
        whole.features, mask=whole.mask, centres=model.centres, prior_strength=1.0, prior_variance=1.0
    )
    exact = torch.cat([mixture.weights[..., None], mixture.means, mixture.variances], dim=2)
    torch.testing.assert_close(model.summarise(whole), exact.float(), rtol=1e-5, atol=1e-5)


def test_prototypes_are_fitted_to_an_equal_share_of_each_patient_and_random_numbers_stay() -> None:
    shares: list[tuple[str, int]] = []

    def draw(patient_id: str, *, count: int, generator: np.random.Generator) -> np.ndarray:
        shares.append((patient_id, count))
        return drawn(patient_id, count=count, generator=generator)

    model = mmp(prototype_patches=25)
    state = torch.get_rng_state()
    model.fit_bags(draw, patient_id=["A", "B", "C", "D"], seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert shares == [("A", 6), ("B", 6), ("C", 6), ("D", 6)]
    centres = model.state_dict()["centres"].clone()
    model.fit_bags(draw, patient_id=["A", "B", "C", "D"], seed=1)
    assert torch.equal(model.centres, centres)
    model.fit_bags(draw, patient_id=["A", "B", "C", "D"], seed=2)
    assert not torch.equal(model.centres, centres)


def test_a_pass_before_the_fit_is_our_own_mistake() -> None:
    model = MMP(model_sections.MMP(architecture="mmp", prototypes=2), feature_dim=7, pathways=SETS)
    with pytest.raises(AssertionError, match="fitted before the first pass"):
        model(batch((3,)))
