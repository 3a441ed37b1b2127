"""Where each network drops what, and how much of it, as published."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models.test_baselines import SETS, WIDTH, batch, drawn
from tta_pipeline import model_sections
from tta_pipeline.models import MODELS, dropout

Places = list[tuple[str, float, int]]  # kind, probability, width of what is dropped


def plain(probability: float, *widths: int) -> Places:
    return [("dropout", probability, width) for width in widths]


def alpha(*widths: int) -> Places:
    return [("alpha_dropout", 0.25, width) for width in widths]


def layer(probability: float, *, tokens: int, hidden: int) -> Places:
    """A Transformer layer: attention, what it gives, inside the perceptron, and what that gives."""
    return plain(probability, tokens, 256, hidden, 256)


GENES = alpha(256, 256)  # both layers of a gene set's net
GATED = plain(0.25, 256, 256)  # value and gate
BRANCH = 2 * layer(0.25, tokens=len(SETS), hidden=512) + GATED + plain(0.25, 256)
MCAT = plain(0.25, 256) + GENES + 2 * BRANCH  # patches, gene sets, either branch; nothing in concatenation
ABMIL = plain(0.25, 512) + GATED + plain(0.25, 256)
PLACES = {
    "tta": plain(0.3, *[256] * 5),  # pathways, patches; perceptrons of both refiners and of the fusion
    "mlp": plain(0.25, 32, 32),
    "snn": alpha(256, 256),
    "pathway-transformer": GENES + BRANCH,
    "mean-pool": plain(0.25, 256, 256),
    "abmil": ABMIL,
    "transmil": plain(0.1, 512, 512),  # what either attention gives; not the embedding
    "late-fusion": ABMIL + alpha(256, 256),
    "mcat": MCAT,
    "motcat": MCAT,
    "cmta": plain(0.25, 256, 256) + alpha(1024, 256) + plain(0.1, *[256] * 8),  # two attentions in each of four bodies
    "survpath": GENES + plain(0.1, 128, 128),  # one perceptron, of pathways and of patches; not the patches' embedding
    "mmp": GENES + plain(0.1, 144),
    "pibd": GENES + plain(0.2, *[512] * 4) + plain(0.1, *[256] * 9),  # two encoders; one block, for three streams
    # Patches twice, between three convolutions, one perceptron for gene sets and for patches.
    "mrepath": plain(0.25, *[256] * 6) + alpha(1024, 256),
    # MCAT; two attentions in a body as wide as the features, up to a multiple of 8; a layer of 2 + 3 tokens of genes.
    "ld-cvae": MCAT + plain(0.1, WIDTH + 1, WIDTH + 1) + layer(0.1, tokens=2 + len(SETS), hidden=1024),
}
BILINEAR = plain(0.25, 32, 32, 33 * 33, 256, 256)


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> Places:
    """What is given to torch's two functions in training; they drop nothing."""
    places: Places = []
    monkeypatch.setattr(dropout, "_by_bits", lambda *_, **__: False)  # leaves all to torch's functions

    def watch(kind: str) -> None:
        def watched(hidden: Tensor, p: float, *, training: bool) -> Tensor:
            if training:
                places.append((kind, p, hidden.shape[-1]))
            return hidden

        monkeypatch.setattr(F, kind, watched)

    watch("dropout")
    watch("alpha_dropout")
    return places


def run(architecture: str, *, training: bool, **options: Any) -> None:
    section = model_sections.ARCHITECTURES[architecture](architecture=architecture, **options)
    model = MODELS[architecture](section, feature_dim=WIDTH, pathways=SETS)
    model.fit_bags(drawn, patient_id=["first"], seed=0)
    outcomes = {"event": torch.tensor([True, False]), "time_bin": torch.tensor([0, 1])}
    model.train(training)(replace(batch((6, 6)), **outcomes))


@pytest.mark.parametrize("architecture", MODELS)
def test_dropout_is_where_it_was_published_and_as_much(architecture: str, dropped: Places) -> None:
    few = {"prototypes": 4} if architecture == "tta" else {}  # no more than there are tokens
    run(architecture, training=True, **few)
    assert Counter(dropped) == Counter(PLACES[architecture])
    dropped.clear()
    run(architecture, training=False, **few)
    assert not dropped


@pytest.mark.parametrize("architecture", ["late-fusion", "mcat", "motcat"])
def test_a_bilinear_fusion_drops_too(architecture: str, dropped: Places) -> None:
    run(architecture, training=True, fusion="bilinear")
    assert Counter(dropped) == Counter(PLACES[architecture] + BILINEAR)


def test_attention_of_pibd_is_left_out_as_often_as_its_entries() -> None:
    section = model_sections.PIBD(architecture="pibd")
    model = MODELS["pibd"](section, feature_dim=WIDTH, pathways=SETS)
    assert model.block.drop_path == 0.1
