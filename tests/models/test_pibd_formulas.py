"""PIBD as its formulas: one patient and one part at a time, from the weights alone, in float64."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.test_baselines import NO_DROPOUT, SETS, batch, build
from tta_pipeline.models import pibd
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.pibd import PIBD
from tta_pipeline.models.pibd_parts import Bottleneck, InformationBound, SharedBlock
from tta_pipeline.numerics.partition import Partition

# Columns of the patches in each part of each bag; the bags have 13, 9 and 5 patches.
PARTS = [[[0, 3, 6, 9, 12], [1, 4, 7, 10], [2, 5, 8, 11]], [[8, 6, 4, 2, 0], [1, 3, 5, 7]], [[4, 0, 1, 3, 2]]]
EVENT, TIME_BIN = torch.tensor([True, False, True]), torch.tensor([2, 0, 3])
KEPT_PATHWAYS = 2  # int(0.8 * 3)
WIDTH, HEADS, PROTOTYPES = 8, 4, 8


@dataclass(frozen=True)
class Part:
    """What becomes of one part of a bag: its scores (outputs,), three streams (width,), cosines per modality (8,)."""

    scores: Tensor
    streams: tuple[Tensor, Tensor, Tensor]
    nearness: tuple[Tensor, Tensor]


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Three patients with outcomes, whose bags are cut as `PARTS` says."""
    rows = [(bag, columns) for bag, parts in enumerate(PARTS) for columns in parts]
    cut = Partition(
        bag=torch.tensor([bag for bag, _ in rows]),
        tokens=torch.tensor([columns + [0] * (5 - len(columns)) for _, columns in rows]),
        mask=torch.arange(5) < torch.tensor([[len(columns)] for _, columns in rows]),
    )
    monkeypatch.setattr(pibd, "partition", lambda *_, **__: cut)
    single = batch((13, 9, 5))
    double = replace(single, features=single.features.double(), expression=single.expression.double())
    return replace(double, event=EVENT, time_bin=TIME_BIN)


def build_pibd(preset: str) -> PIBD:
    """All weights random, biases and norms too; so many samples that their mean is that of the prototype."""
    model = build("pibd", outputs=4, preset=preset, part_patches=5, samples=10**30, **NO_DROPOUT)
    assert isinstance(model, PIBD)
    generator = torch.Generator().manual_seed(16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.double()


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_scores_are_those_of_the_formulas(preset: str, training: bool, whole: Batch) -> None:
    model = build_pibd(preset).train(training)
    expected = [torch.stack([part.scores for part in parts]).mean(dim=0) for parts in _patients(model, whole)]
    torch.testing.assert_close(model(whole).scores, torch.stack(expected))


@pytest.mark.parametrize("preset", ["paper", "released"])
@torch.no_grad()
def test_losses_are_those_of_the_formulas(preset: str, whole: Batch) -> None:
    """Terms of a bag are means over its parts; released divides them all by the patients of the batch."""
    model = build_pibd(preset).train()
    patients, both = _patients(model, whole), (model.histology_bottleneck, model.gene_bottleneck)
    apart = [[part.streams[:2] for part in parts] for parts in patients]  # histology and genes
    common = [[(torch.cat(part.streams[:2]), part.streams[2]) for part in parts] for parts in patients]
    (first, first_fit), (second, second_fit) = _information(model.between, apart), _information(model.to_common, common)
    assert min(first, second) > 0  # a bound below it, the paper's preset takes for 0
    nearness = [
        _mean([_contrast(part, own) for part in parts]) for parts, own in zip(patients, _own().tolist(), strict=True)
    ]
    expected = {
        "prototype": -_mean(nearness),
        "classification": 0.1 * sum(_likelihood(one) for one in both),
        "prior": 0.01 * sum(_prior(one) for one in both),
        "information": 0.1 * (first + second),
        "information_fit": 0.1 * (first_fit + second_fit),
    }
    divisor = 3 if preset == "released" else 1
    torch.testing.assert_close(model(whole).losses, {name: value / divisor for name, value in expected.items()})


def _own() -> Tensor:
    """The prototype of the true outcome: censored in one of four bins, then dead in one."""
    return TIME_BIN + 4 * EVENT


def _patients(model: PIBD, whole: Batch) -> list[list[Part]]:
    patients = []
    for row, parts in enumerate(PARTS):
        genes = _encoded(model.gene_bottleneck, _gene_tokens(model.genomics, whole.expression[row]))
        patches = _encoded(model.histology_bottleneck, whole.features[row])
        patients.append([_part(model, patches[columns], genes, own=int(_own()[row])) for columns in parts])
    return patients


def _part(model: PIBD, patches: Tensor, genes: Tensor, *, own: int) -> Part:
    histology, of_patches, near_patches = _select(patches, model.histology_bottleneck, keep=len(patches) // 2)
    pathways, of_genes, near_genes = _select(genes, model.gene_bottleneck, keep=KEPT_PATHWAYS)
    joint = _joint(model, *((own, own) if model.training else (of_patches, of_genes)))
    streams = (
        _block(model.block, histology, histology).mean(dim=0),
        _block(model.block, pathways, pathways).mean(dim=0),
        _block(model.block, joint, torch.cat([joint, histology, pathways]))[0],
    )
    scores = _linear(model.head, F.relu(_linear(model.hidden[0], torch.cat(streams))))
    return Part(scores, streams, (near_patches, near_genes))


def _linear(layer: nn.Module, rows: Tensor) -> Tensor:
    return rows @ layer.weight.T + layer.bias


def _gene_tokens(genes: nn.Module, expression: Tensor) -> Tensor:
    weights, tokens = genes[0].weight.split([len(one) for one in SETS]), []
    for number, (columns, weight) in enumerate(zip(SETS, weights, strict=True)):
        hidden = F.elu(expression[columns] @ weight + genes[0].bias[number])
        tokens.append(F.elu(hidden @ genes[3].weight[number] + genes[3].bias[number]))
    return torch.stack(tokens)


def _encoded(bottleneck: Bottleneck, tokens: Tensor) -> Tensor:
    first, second, last = bottleneck.encoder
    return _linear(last, F.relu(_linear(second[0], F.relu(_linear(first[0], tokens)))))


def _select(tokens: Tensor, bottleneck: Bottleneck, *, keep: int) -> tuple[Tensor, int, Tensor]:
    """Tokens of the pairs of the largest cosines, the first most frequent prototype, mean largest cosines to each."""
    directions = bottleneck.means / bottleneck.means.norm(dim=1, keepdim=True)
    cosines = (tokens / tokens.norm(dim=1, keepdim=True)) @ directions.T
    pairs = cosines.flatten().argsort(descending=True)[:keep]
    votes = [int((pairs % PROTOTYPES == kind).sum()) for kind in range(PROTOTYPES)]
    return tokens[pairs // PROTOTYPES], votes.index(max(votes)), cosines.sort(descending=True, dim=0)[0][:keep].mean(0)


def _spread(bottleneck: Bottleneck) -> Tensor:
    return bottleneck.spread.exp().log1p()


def _joint(model: PIBD, histology: int, genes: int) -> Tensor:
    """Mean of the product of two normal distributions; released takes deviations for variances: (1, width)."""
    power = 1 if model.options.preset == "released" else 2
    experts = (model.histology_bottleneck, histology), (model.gene_bottleneck, genes)
    weights = model.expertise.exp() / model.expertise.exp().sum()
    precisions = [weight / _spread(one)[kind] ** power for weight, (one, kind) in zip(weights, experts, strict=True)]
    means = [one.means[kind] for one, kind in experts]
    return ((precisions[0] * means[0] + precisions[1] * means[1]) / (precisions[0] + precisions[1]))[None]


def _block(block: SharedBlock, tokens: Tensor, context: Tensor) -> Tensor:
    size = WIDTH // HEADS
    queries = _linear(block.query_key_value, block.norm_in(tokens))[:, :WIDTH]
    _, keys, values = _linear(block.query_key_value, block.norm_in(context)).chunk(3, dim=1)
    heads = [slice(start, start + size) for start in range(0, WIDTH, size)]
    read = [(queries[:, one] @ keys[:, one].T / size**0.5).softmax(dim=1) @ values[:, one] for one in heads]
    tokens = tokens + _linear(block.out[0], torch.cat(read, dim=1))
    norm, first, _, _, second, _ = block.perceptron
    return tokens + _linear(second, F.gelu(_linear(first, norm(tokens))))


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean(dim=0)


def _contrast(part: Part, own: int) -> Tensor:
    """Nearness to the own prototype, less the mean of that to the other seven; of both modalities."""
    others = [kind for kind in range(PROTOTYPES) if kind != own]
    return torch.stack([near[own] - near[others].mean() for near in part.nearness]).sum()


def _likelihood(bottleneck: Bottleneck) -> Tensor:
    """Each prototype's own outcome by its own hazards, summed over all eight; half of it for the censored."""
    hazards, loss = _linear(bottleneck.classifier, bottleneck.means).sigmoid(), torch.zeros((), dtype=torch.float64)
    for time_bin in range(4):
        loss -= 0.5 * (1 - hazards[time_bin, : time_bin + 1]).log().sum()
        dead = hazards[4 + time_bin]
        loss -= (1 - dead[:time_bin]).log().sum() + dead[time_bin].log()
    return loss


def _prior(bottleneck: Bottleneck) -> Tensor:
    own = torch.distributions.Normal(bottleneck.means, _spread(bottleneck))
    return torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum(dim=1).mean()


def _information(bound: InformationBound, patients: list[list[tuple[Tensor, Tensor]]]) -> tuple[Tensor, Tensor]:
    """Bound and fit of y by x: a part is set against the parts of that number of all patients who have one."""
    bounds, fits = [], []
    for parts in patients:
        distances = []
        for number, (x, y) in enumerate(parts):
            found = _linear(bound.estimate[2], F.relu(_linear(bound.estimate[0], x)))
            others = [other[number][1] for other in patients if number < len(other)]
            own = (found - y).square().sum()
            distances.append((_mean([(found - one).square().sum() for one in others]) - own, own))
        bounds.append(_mean([difference / 2 for difference, _ in distances]))
        fits.append(_mean([own for _, own in distances]))
    return _mean(bounds), _mean(fits)
