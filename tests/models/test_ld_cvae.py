"""LD-CVAE: what it knows of missing genes, its latents, and when it is given true gene tokens."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.test_baselines import WIDTH, batch, build
from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output
from tta_pipeline.models.ld_cvae import LDCVAE
from tta_pipeline.models.ld_cvae_parts import Normal, joint
from tta_pipeline.numerics.metrics import harrell_c
from tta_pipeline.numerics.survival import cox_loss


def ld_cvae(**options: Any) -> LDCVAE:
    model = build("ld-cvae", block_dropout=0.0, dropout=0.0, **options)
    assert isinstance(model, LDCVAE)
    return model


def labelled(whole: Batch) -> Batch:
    rows = torch.arange(len(whole.mask))
    return replace(whole, event=rows % 2 == 0, time_bin=rows % 4)


def seeded(model: LDCVAE, whole: Batch, *, epoch: float = 0.0) -> Output:
    torch.manual_seed(7)
    model.begin_step(epoch)
    output: Output = model.train()(labelled(whole))
    return output


def normal(shape: tuple[int, ...], seed: int) -> Normal:
    generator = torch.Generator().manual_seed(seed)
    return Normal(torch.randn(shape, generator=generator), torch.rand(shape, generator=generator) + 0.5)


def learns(module: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


@pytest.mark.parametrize("image_dim", [None, 8])
@pytest.mark.parametrize("genes_at_test", [True, False])
@torch.no_grad()
def test_scores_are_those_of_the_formulas(image_dim: int | None, genes_at_test: bool) -> None:
    """One patient at a time, from the weights alone; but for TransMIL's body, and MCAT where it is given tokens."""
    model, whole = ld_cvae(outputs=4, image_dim=image_dim, genes_at_test=genes_at_test).double(), batch((9, 5))
    for parameter in model.parameters():
        parameter.add_(0.2 * torch.randn(parameter.shape))  # biases and norms too
    whole = replace(whole, features=whole.features.double(), expression=whole.expression.double())
    for row, length in enumerate((9, 5)):
        one = Batch(whole.features[row, None, :length], whole.mask[row, None, :length], whole.expression[row, None])
        image_mean, image_variance = _image_latent(model, one.features[0])
        gene_mean, gene_variance = _gene_latent(model, model.body.genes(one.expression)[0])
        precision, common = 1 + 1 / image_variance, image_mean / image_variance
        if genes_at_test:
            precision, common = precision + 1 / gene_variance, common + gene_mean / gene_variance
        own, (first, _, second) = model.differentiation.own, model.differentiation.decoder
        rebuilt = []
        for weight, bias in zip(own.weight, own.bias, strict=True):
            mean = (common / precision @ weight + bias)[: len(common)]
            rebuilt.append(_linear(second, F.elu(_linear(first, torch.cat([mean, image_mean])))))
        expected = model.body.scores(one, genes=torch.stack(rebuilt)[None])
        torch.testing.assert_close(model(whole).scores[[row]], expected)


def _linear(layer: nn.Module, rows: Tensor) -> Tensor:
    return rows @ layer.weight.T + layer.bias


def _image_latent(model: LDCVAE, features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance by two class tokens; features enter as they are, with a 0, or through one layer."""
    wide = model.options.image_dim is None
    tokens = F.pad(features, (0, 1)) if wide else F.relu(_linear(model.image.embedding[0], features))
    summary, _, _ = model.image.body(tokens[None])
    first, second = summary[0].chunk(2)
    return _linear(model.image.mean, first), _linear(model.image.log_variance, second).exp()


def _gene_latent(model: LDCVAE, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance by two queries in front of the tokens, through one post-norm layer with GELU."""
    layer, tokens = model.genomics.layer.layer, torch.cat([model.genomics.queries, tokens])
    mixed, _ = layer.self_attn(tokens, tokens, tokens)
    tokens = layer.norm1(tokens + mixed)
    tokens = layer.norm2(tokens + _linear(layer.linear2, F.gelu(_linear(layer.linear1, tokens))))
    return tokens[0], tokens[1].exp()


def test_no_gene_influences_what_is_said_of_patients_whose_genes_are_missing() -> None:
    whole = batch((9, 5))
    other = replace(whole, expression=torch.full_like(whole.expression, torch.nan))
    assert torch.equal(ld_cvae(genes_at_test=False)(whole).scores, ld_cvae(genes_at_test=False)(other).scores)
    assert ld_cvae(genes_at_test=False).modalities == ("histology",)
    assert ld_cvae().modalities == ("genomics", "histology")


def test_withheld_genes_leave_no_trace_in_a_step() -> None:
    whole, model = batch((9, 5)), ld_cvae(missing_rate=1.0)
    first, second = seeded(model, whole), seeded(model, replace(whole, expression=whole.expression + 1))
    assert torch.equal(first.scores, second.scores)
    assert first.losses["reconstruction"] == first.losses["agreement"] == 0
    assert all(torch.equal(first.losses[name], second.losses[name]) for name in first.losses)


def test_a_product_with_the_prior_shrinks_variances_and_leaves_unknown_genes_out() -> None:
    image, genes = normal((2, 3), 0), normal((2, 3), 1)
    both = joint(image, genes, known=torch.tensor([True, False]))
    precision = 1 + 1 / image.variance + torch.tensor([[1.0], [0.0]]) / genes.variance
    mean = image.mean / image.variance + torch.tensor([[1.0], [0.0]]) * genes.mean / genes.variance
    torch.testing.assert_close(both.variance, 1 / precision)
    torch.testing.assert_close(both.mean, mean / precision)
    assert (both.variance < image.variance).all()
    assert (both.variance < 1).all()
    assert (both.variance[0] < genes.variance[0]).all()


def test_distances_from_the_prior() -> None:
    assert not Normal(torch.zeros(2, 3), torch.ones(2, 3)).prior().any()
    own = normal((2, 3), 0)
    independent = torch.distributions.kl_divergence(
        torch.distributions.Normal(own.mean, own.variance.sqrt()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(own.prior(), independent.mean(dim=1))


def test_a_latent_is_drawn_in_training_and_its_mean_elsewhere() -> None:
    own = Normal(torch.full((20_000,), 3.0), torch.full((20_000,), 4.0))
    assert torch.equal(own.drawn(training=False), own.mean)
    torch.manual_seed(0)
    drawn = own.drawn(training=True)
    assert float(drawn.mean()) == pytest.approx(3, abs=0.05)
    assert float(drawn.std()) == pytest.approx(2, abs=0.05)
    model, whole = ld_cvae(), batch((9, 5))
    assert torch.equal(model(whole).scores, model(whole).scores)
    assert model(whole).losses == {}


@torch.no_grad()
def test_latents_of_gene_sets_are_drawn_in_training_and_their_means_elsewhere() -> None:
    torch.manual_seed(0)
    draws, model = 20_000, ld_cvae()
    part, width = model.differentiation, model.options.hidden_dim
    part.decoder = nn.Identity()  # so that what it is given comes out
    common, image = (torch.randn(1, width).expand(draws, -1) for _ in range(2))
    own, given = part.train()(common, image=image)
    assert torch.equal(given[..., width:], image[:, None].expand(-1, part.sets, -1))
    drawn = (given[..., :width] - own.mean) / own.variance.sqrt()  # N(0, 1), (draws, sets, width)
    assert float(drawn.mean(dim=0).abs().max()) < 4 * draws**-0.5
    assert float((drawn.std(dim=0) - 1).abs().max()) < 4 * (2 * draws) ** -0.5
    assert torch.equal(part.eval()(common, image=image)[1][..., :width], own.mean)


def test_the_model_learns_from_rebuilt_tokens_alone() -> None:
    """As it trains from `true_epochs` on, the bag in front of the branches shut; risks are those of evaluation.

    In small steps: in large ones it stays at one risk for all from some starts, and on some processors.
    """
    model, whole = ld_cvae(), labelled(batch((6,) * 16))
    for shut in model.body.co_attention.attention.out_proj.parameters():
        nn.init.zeros_(shut.requires_grad_(False))
    time_days, event = torch.arange(1.0, 17.0), torch.ones(16, dtype=torch.bool)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    model.train().begin_step(float(model.options.true_epochs))
    true_nets = [parameter.detach().clone() for parameter in model.body.genes.parameters()]
    for _ in range(600):
        optimiser.zero_grad()
        output = model(whole)
        loss = cox_loss(output.scores[:, 0], time_days=time_days, event=event)
        torch.stack([loss, *output.losses.values()]).sum().backward()
        optimiser.step()
    assert all(map(torch.equal, true_nets, model.body.genes.parameters()))
    risk = model.eval()(whole).scores[:, 0].detach().double().numpy()
    assert harrell_c(risk=risk, time_days=time_days.double().numpy(), event=event.numpy()).value > 0.8


def test_true_tokens_are_given_in_the_first_epochs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, whole = ld_cvae(true_epochs=2), batch((9, 5))
    given: list[Tensor] = []
    scores = model.body.scores

    def watched(batch: Batch, *, genes: Tensor) -> Tensor:
        given.append(genes)
        return scores(batch, genes=genes)

    monkeypatch.setattr(model.body, "scores", watched)
    true = model.body.genes(whole.expression)
    for epoch, expected in [(0.0, True), (1.9, True), (2.0, False), (3.5, False)]:
        output = seeded(model, whole, epoch=epoch)
        assert torch.equal(given[-1], true) == expected
        model.zero_grad()
        output.scores.sum().backward()
        assert learns(model.body.genes) == expected
        assert learns(model.differentiation) != expected
    model.eval()(whole)
    assert not torch.equal(given[-1], true)


def test_losses_are_those_of_the_paper() -> None:
    model, whole = ld_cvae(prior_epochs=4.0), batch((9, 5))
    output = seeded(model, whole, epoch=1.0)
    image, tokens = model.image(whole.features, mask=whole.mask), model.body.genes(whole.expression)
    genes = model.genomics(tokens)
    torch.manual_seed(7)
    torch.rand(2)  # whose genes are withheld
    both, drawn = joint(image, genes, known=torch.ones(2, dtype=torch.bool)), image.drawn(training=True)
    own, rebuilt = model.differentiation(both.drawn(training=True), image=drawn)
    torch.testing.assert_close(output.losses["reconstruction"], (rebuilt - tokens).square().mean())
    distances = (genes.mean - image.mean).square().mean() + (genes.variance - image.variance).abs().mean()
    torch.testing.assert_close(output.losses["agreement"], 0.1 * distances)
    priors = torch.stack([latent.prior().mean() for latent in (image, genes, both, own)]).sum()
    torch.testing.assert_close(output.losses["prior"], 0.1 / 4 * priors)
    hazards = model.classifier(drawn).sigmoid()
    expected = -(hazards[0, 0].log() + (1 - hazards[1, :2]).log().sum()) / 2  # an event in bin 0, censoring in bin 1
    torch.testing.assert_close(output.losses["image"], expected)
    assert seeded(model, whole, epoch=0.0).losses["prior"] == 0
    assert seeded(model, whole, epoch=4.0).losses["prior"] == seeded(model, whole, epoch=9.0).losses["prior"]


def test_no_loss_but_the_survival_one_reaches_the_gene_nets() -> None:
    model = ld_cvae()
    torch.stack(list(seeded(model, batch((9, 5))).losses.values())).sum().backward()
    assert all(parameter.grad is None for parameter in model.body.parameters())


def test_training_without_outcomes_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="a training batch has outcomes"):
        ld_cvae().train()(batch((3,)))


def test_features_of_any_width_are_filled_up_to_a_multiple_of_heads() -> None:
    model, whole = ld_cvae(image_dim=None), batch((9, 5))
    assert model.image.mean.in_features == WIDTH + 1
    filled = torch.cat([whole.features, torch.zeros(2, 9, 1)], dim=2)
    assert torch.equal(model.image.embedding(whole.features), filled)
    assert model(whole).scores.isfinite().all()


def test_widths_that_the_heads_do_not_divide() -> None:
    with pytest.raises(ValidationError, match="heads must divide image_dim, found 8 and 12"):
        model_sections.LDCVAE(architecture="ld-cvae", image_dim=12)
    with pytest.raises(ValidationError, match="latent_heads must divide hidden_dim, found 3 and 256"):
        model_sections.LDCVAE(architecture="ld-cvae", latent_heads=3)
