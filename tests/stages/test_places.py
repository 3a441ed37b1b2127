"""Where patches are goes with the patches that are drawn, through training and evaluation, to the networks that ask."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders import WIDTH, Study, write_features_file, write_study
from tests.stages.test_evaluate import evaluated
from tta_pipeline import config
from tta_pipeline.io import artifacts
from tta_pipeline.model_sections import Architecture, MeanPool, MRePath
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.mean_pool import MeanPool as MeanPoolNetwork
from tta_pipeline.models.mrepath import MRePath as MRePathNetwork
from tta_pipeline.stages import train

SMALL = MRePath(architecture="mrepath", hidden_dim=8, gene_hidden_dim=8, feed_forward_dim=8)
POOLED = MeanPool(architecture="mean-pool", hidden_dim=8)


def write_bags(study: Study, *, with_coords: bool = True) -> None:
    """Features of which three say on which slide of the patient a patch is, and where; 3 to 9 patches a slide."""
    generator = np.random.default_rng(0)
    for name in study.patient_id:
        for slide, path in enumerate(study.features(name)):
            features = generator.standard_normal((int(generator.integers(3, 10)), WIDTH)).astype(np.float16)
            cells = generator.choice(64, size=len(features), replace=False)
            coords = 64 * np.stack([cells % 8, cells // 8], axis=1)
            features[:, 1], features[:, 2:4] = slide, coords
            write_features_file(path, features, coords=coords if with_coords else None)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = write_study(tmp_path)
    write_bags(made)
    return made


def watch(monkeypatch: pytest.MonkeyPatch, network: type[RiskModel]) -> list[tuple[bool, Batch]]:
    """Every batch that a network sees, and whether it is in training."""
    seen: list[tuple[bool, Batch]] = []
    forward: Callable[..., Output] = network.forward

    def watched(self: RiskModel, batch: Batch) -> Output:
        seen.append((self.training, batch))
        return forward(self, batch)

    monkeypatch.setattr(network, "forward", watched)
    return seen


def trained(study: Study, model: Architecture, *, patches: int = 4) -> Path:
    out = study.folder / "train.h5"
    train.run(
        **study.inputs,  # type: ignore[arg-type]
        repeat=0,
        fold=0,
        seed=0,
        name="small",
        out=out,
        model=model,
        config=config.Train(epochs=2, batch_size=8, patches=patches, standardise_features=False, device="cpu"),
        bad_slides=config.BadSlides(),
    )
    return out


def test_places_are_those_of_the_patches_in_training_and_evaluation(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch(monkeypatch, MRePathNetwork)
    trained(study, SMALL)
    assert {was_training for was_training, _ in seen} == {True, False}
    assert max(batch.features.shape[1] for was_training, batch in seen if was_training) == 4
    before = len(seen)
    evaluated(study, max_patches=5, exchanges=2)
    assert len(seen) == before + 1 + 2 * 2
    for _, batch in seen:
        assert batch.places is not None
        assert torch.equal(batch.places[batch.mask], batch.features[batch.mask][:, 1:4])
    own, *others = (batch for _, batch in seen[before:])
    assert max(len(batch.places[0]) for batch in (own, *others)) == 5  # type: ignore[index]
    assert sum(not torch.equal(batch.features, own.features) for batch in others) == 2, "patches are exchanged twice"


def test_a_risk_depends_on_where_patches_are(study: Study) -> None:
    trained(study, SMALL)
    before = evaluated(study, exchanges=0).risk
    path = study.features(study.ids("test")[0])[0]
    features = np.random.default_rng(1).standard_normal((9, WIDTH)).astype(np.float16)
    risks = []
    for coords in (np.random.default_rng(seed).random((9, 2)) for seed in (2, 3)):
        write_features_file(path, features, coords=coords)
        risks.append(evaluated(study, exchanges=0).risk)
    assert len({risk[0] for risk in (before, *risks)}) == 3
    np.testing.assert_allclose(risks[0][1:], before[1:], atol=1e-6)


def test_the_order_of_patches_in_a_file_does_not_matter(study: Study) -> None:
    trained(study, SMALL)
    before = evaluated(study, exchanges=0).risk
    for name in study.ids("test"):
        for path in study.features(name):
            features = artifacts.read_features(path)
            coords = artifacts.read_coords(path, n_patches=len(features))
            assert coords is not None
            write_features_file(path, features[::-1], coords=coords[::-1])
    np.testing.assert_allclose(evaluated(study, exchanges=0).risk, before, rtol=0, atol=1e-5)


def test_files_without_coordinates_are_rows_of_patches(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bags(study, with_coords=False)
    seen = watch(monkeypatch, MRePathNetwork)
    trained(study, SMALL, patches=100)
    assert np.isfinite(evaluated(study, exchanges=1).risk).all()
    for _, batch in seen:
        assert batch.places is not None
        for bag, places in zip(batch.features.numpy(), batch.places.numpy(), strict=True):
            real = bag.any(axis=1)
            np.testing.assert_array_equal(places[real, 0], bag[real, 1])
            for slide in np.unique(bag[real, 1]):
                on_slide = places[real & (bag[:, 1] == slide)]
                np.testing.assert_array_equal(on_slide[:, 1], np.arange(len(on_slide)))
                assert not on_slide[:, 2].any()


def test_no_coordinates_are_read_for_a_network_that_asks_for_none(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unread(path: Path, **_: Any) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(artifacts, "read_coords", unread)
    seen = watch(monkeypatch, MeanPoolNetwork)
    trained(study, POOLED)
    evaluated(study, exchanges=1)
    assert seen
    assert all(batch.places is None for _, batch in seen)
    with pytest.raises(AssertionError):
        trained(study, SMALL)
