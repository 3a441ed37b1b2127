"""The baselines: their published sizes, what must not matter to them, and that they learn."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models import MODELS
from tta_pipeline.models.batch import Batch, RiskModel
from tta_pipeline.models.blocks import GatedAttention, SNNLayer
from tta_pipeline.numerics.survival import cox_loss

WIDTH = 7
SETS = [np.arange(0, 4), np.array([2, 5, 6]), np.array([8])]  # gene 7 stands in no set
GENES = 9
BASELINES = [name for name in MODELS if name != "tta"]
SMALL = {"hidden_dim": 8, "embedding_dim": 8, "attention_dim": 4, "feed_forward_dim": 16, "encoder_dim": 8}
SMALL |= {"gene_hidden_dim": 12, "landmarks": 4, "attention_dropout": 0.0, "prototypes": 3, "part_patches": 4}
SMALL |= {"image_dim": 8, "decoder_dim": 8}
# Patches are laid out on a grid, averaged in segments, or dealt out to parts, in the order of the bag.
ORDERED = {"transmil", "cmta", "pibd", "ld-cvae"}
NO_DROPOUT = dict.fromkeys(("dropout", "gene_dropout", "encoder_dropout", "block_dropout", "feed_forward_dropout"), 0.0)
# A softmax does not change with a constant, hence neither does attention with the bias of its scores.
IDLE = ("head.bias", "pooling.score.bias")


def build(architecture: str, *, outputs: int = 1, **options: Any) -> RiskModel:
    section = model_sections.ARCHITECTURES[architecture]
    wanted = {key: value for key, value in (SMALL | options).items() if key in section.model_fields}
    torch.manual_seed(0)
    model = MODELS[architecture](
        section(architecture=architecture, **wanted), feature_dim=WIDTH, pathways=SETS, outputs=outputs
    )
    model.fit_bags(drawn, patient_id=[str(number) for number in range(4)], seed=0)
    return model.eval()


def drawn(patient_id: str, *, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    del patient_id
    return generator.standard_normal((min(count, 20), WIDTH), dtype=np.float32)


def batch(lengths: tuple[int, ...], seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    features = torch.randn(len(lengths), max(lengths), WIDTH, generator=generator)
    expression = torch.randn(len(lengths), GENES, generator=generator)
    return Batch(features, mask, expression, places=scattered(mask, generator=generator))


def scattered(mask: Tensor, *, generator: torch.Generator) -> Tensor:
    """Places of patches that are dealt out to two slides."""
    slide = (torch.arange(mask.shape[1]) % 2.0).expand(mask.shape)
    return torch.cat([slide[..., None], 100 * torch.randn(*mask.shape, 2, generator=generator)], dim=2)


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [
        ("mlp", 20_321),
        ("snn", 219_905),
        ("mean-pool", 328_449),
        ("abmil", 919_298),
        ("late-fusion", 1_336_066),
        ("mcat", 3_776_515),
        ("motcat", 3_513_347),
        ("cmta", 5_399_361),
        ("pathway-transformer", 1_801_986),
        ("transmil", 2_671_633),
        ("survpath", 961_153),
        ("mmp", 2_126_304 - 288),  # published: and a norm that nothing uses
        ("pibd", 3_255_054 - 3 * 257),  # published with four outputs
        ("mrepath", 4_370_694),  # not published: the sum of its layers
        ("ld-cvae", 14_763_543),  # not published: the sum of its layers, 3,776,515 of them MCAT's
    ],
)
def test_as_many_parameters_as_published(architecture: str, parameters: int) -> None:
    """Six sets of 100 genes, patches of 1024 features, one output, widths as published."""
    section = model_sections.ARCHITECTURES[architecture](architecture=architecture)
    sets = [np.arange(100 * number, 100 * (number + 1)) for number in range(6)]
    model = MODELS[architecture](section, feature_dim=1024, pathways=sets, outputs=1)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("architecture", BASELINES)
@pytest.mark.parametrize("outputs", [1, 4])
def test_a_batch_is_its_patients_and_padding_is_nothing(architecture: str, outputs: int) -> None:
    model, whole = build(architecture, outputs=outputs), batch((5, 1, 9))
    expected = model(whole).scores
    assert expected.shape == (3, outputs)
    padding = ~whole.mask[..., None]
    garbage = {"features": whole.features.masked_fill(padding, 1e6), "places": whole.places.masked_fill(padding, 1e6)}
    torch.testing.assert_close(model(replace(whole, **garbage)).scores, expected, rtol=0, atol=1e-6)
    for row, length in enumerate((5, 1, 9)):
        own = {name: getattr(whole, name)[row, None, :length] for name in ("features", "mask", "places")}
        one = Batch(**own, expression=whole.expression[row, None])
        torch.testing.assert_close(model(one).scores, expected[[row]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", BASELINES)
def test_the_order_of_patches_does_not_matter(architecture: str) -> None:
    model, whole = build(architecture), batch((9, 9))
    order = torch.tensor([3, 1, 4, 0, 5, 8, 2, 6, 7])  # to flip them would leave PIBD's parts as they are
    before = model(whole).scores
    shuffled = replace(whole, features=whole.features[:, order], places=whole.places[:, order])
    if architecture in ORDERED:
        assert not torch.isclose(model(shuffled).scores, before, rtol=0, atol=1e-5).any()
    else:
        torch.testing.assert_close(model(shuffled).scores, before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", BASELINES)
def test_a_model_sees_its_modalities_and_nothing_else(architecture: str) -> None:
    model, whole = build(architecture), batch((9, 9))
    other_patches = replace(whole, features=whole.features + 1)
    other_genes = replace(whole, expression=whole.expression + 1)
    unused = whole.expression.clone()
    unused[:, 7] += 1
    before = model(whole).scores
    assert torch.equal(model(other_patches).scores, before) == ("histology" not in model.modalities)
    assert torch.equal(model(other_genes).scores, before) == ("genomics" not in model.modalities)
    assert torch.equal(model(replace(whole, expression=unused)).scores, before)


@pytest.mark.parametrize("architecture", BASELINES)
def test_sixteen_patients_are_learnt_by_heart_and_every_parameter_learns(architecture: str) -> None:
    """PIBD's scores are those of evaluation here: in training its head is given the prototype of the true outcome."""
    model, whole = build(architecture, **NO_DROPOUT), batch((6,) * 16)
    time_days, event = torch.arange(1.0, 17.0), torch.arange(16) % 4 > 0
    if model.outcome_bins is not None:
        whole = replace(whole, event=event, time_bin=torch.arange(16) * model.outcome_bins // 16)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(400):
        optimiser.zero_grad()
        output = model.train()(whole)
        scores = model.eval()(whole).scores if architecture == "pibd" else output.scores
        loss = cox_loss(scores[:, 0], time_days=time_days, event=event)
        torch.stack([loss, *output.losses.values()]).sum().backward()
        if not losses:
            # The Cox loss does not change with a constant, hence neither with the bias of the head.
            idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-12]
            assert all(name.endswith(IDLE) for name in idle)
        optimiser.step()
        losses.append(float(loss.detach()))
        if losses[-1] < 0.1 * losses[0]:
            break
    assert losses[-1] < 0.1 * losses[0]


def test_weights_of_self_normalising_layers() -> None:
    torch.manual_seed(0)
    linear = SNNLayer(400, 300, dropout=0.25)[0]
    assert isinstance(linear, nn.Linear)
    assert float(linear.weight.detach().std()) == pytest.approx(400**-0.5, rel=0.02)
    assert not linear.bias.any()


def test_attention_is_shared_out_over_valid_patches() -> None:
    torch.manual_seed(0)
    pooling, whole = GatedAttention(WIDTH, 4, dropout=0.25).eval(), batch((5, 2))
    attention = pooling.attention(whole.features, whole.mask)
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(2))
    assert not attention[~whole.mask].any()
    constant = whole.features[:, :1].expand(-1, 5, -1)
    torch.testing.assert_close(pooling(constant, whole.mask), constant[:, 0])


def test_a_mean_does_not_know_how_many_patches_there_are_and_a_sum_does() -> None:
    whole = batch((6,))
    twice = Batch(whole.features.repeat(1, 2, 1), whole.mask.repeat(1, 2), whole.expression)
    mean, summed = build("mean-pool"), build("mean-pool", pooling="sum")
    torch.testing.assert_close(mean(twice).scores, mean(whole).scores)
    assert not torch.allclose(summed(twice).scores, summed(whole).scores, atol=1e-4)
