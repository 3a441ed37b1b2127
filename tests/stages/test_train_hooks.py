"""What the train stage gives a model beside its batches: bags to fit buffers to, and outcomes if it asks for them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders import Study, write_features_file, write_study
from tests.stages.test_train import bytes_of, trained
from tta_pipeline import config
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, tables
from tta_pipeline.io.fold import Group
from tta_pipeline.model_sections import MMP, PIBD, Architecture
from tta_pipeline.models import mmp, resume
from tta_pipeline.models.batch import Batch, Draw, Output
from tta_pipeline.models.tta import TTA
from tta_pipeline.numerics import discrete
from tta_pipeline.stages import evaluate, training

SMALL = MMP(architecture="mmp", hidden_dim=8, attention_dim=4, prototypes=3)
SMALL_PIBD = PIBD(architecture="pibd", hidden_dim=8, encoder_dim=8, part_patches=4)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return write_study(tmp_path)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int, dict[str, np.ndarray]]]:
    """Patients, seed and bags of each fit of a model that looks at all bags."""
    calls: list[tuple[list[str], int, dict[str, np.ndarray]]] = []

    def fit_bags(_: TTA, draw: Draw, *, patient_id: Sequence[str], seed: int) -> None:
        bags = {one: draw(one, count=99, generator=np.random.default_rng(seed)) for one in patient_id}
        calls.append((list(patient_id), seed, bags))

    monkeypatch.setattr(TTA, "fit_bags", fit_bags)
    return calls


@pytest.mark.parametrize("standardised", [False, True])
def test_bags_of_training_patients_are_fitted_once_as_the_model_sees_them(
    study: Study, fits: list[tuple[list[str], int, dict[str, np.ndarray]]], standardised: bool
) -> None:
    checkpoint = trained(study, seed=3, standardise_features=standardised)
    ((patient_id, seed, bags),) = fits
    assert (patient_id, seed) == (study.ids("train"), 3)
    for one in patient_id:
        stored = np.concatenate([artifacts.read_features(path) for path in study.features(one)]).astype(np.float32)
        if standardised:
            stored = (stored - checkpoint.scaler["feature_mean"]) / checkpoint.scaler["feature_scale"]
        assert bags[one].dtype == np.float32
        np.testing.assert_array_equal(bags[one], stored)


def test_a_training_that_goes_on_does_not_fit_again(
    study: Study, fits: list[tuple[list[str], int, dict[str, np.ndarray]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_report", killed)
        patch.setattr(resume, "SAVE_EVERY_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            trained(study)
    assert len(trained(study).history["rho"]) == 3
    assert len(fits) == 1


def test_weighted_sampling_shows_each_bin_with_and_without_events_equally_often() -> None:
    """Forty events, one after another, and forty censored patients, of whom four before the middle event."""
    event = np.arange(80) < 40
    time_days = np.concatenate([np.arange(1.0, 41.0), np.linspace(2.5, 18.5, 4), np.linspace(22.5, 57.5, 36)])
    names, patches = [f"P{row:02d}" for row in range(80)], np.ones(80, dtype=np.int64)
    group = Group(names, time_days=time_days, event=event, n_patches=patches, expression=np.zeros((80, 1), np.float32))
    options = config.Train(sampling="weighted", bins=2, batch_size=32)
    generator = np.random.default_rng(0)
    drawn = [training._members(group, generator=generator, config=options) for _ in range(50)]
    rows = np.concatenate([np.concatenate(batches) for batches in drawn])
    kinds = np.bincount(2 * (time_days > 20.5)[rows] + event[rows]) / len(rows)
    np.testing.assert_allclose(kinds, 1 / 4, atol=0.03)


def test_outcomes_are_given_in_training_alone_and_only_where_a_model_asks(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, Batch]] = []
    forward = TTA.forward

    def watched(self: TTA, batch: Batch) -> Output:
        seen.append((self.training, batch))
        return forward(self, batch)

    monkeypatch.setattr(TTA, "forward", watched)
    without = bytes_of(trained(study))
    assert all(batch.event is None and batch.time_bin is None for _, batch in seen)
    seen.clear()
    monkeypatch.setattr(TTA, "outcome_bins", 3)
    assert bytes_of(trained(study)) == without
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS).set_index("patient_id")
    own = table.loc[study.ids("train")]
    edges = discrete.event_time_edges(own["time_days"].to_numpy(), event=own["event"].to_numpy(dtype=bool), bins=3)
    assert {was_training for was_training, _ in seen} == {False, True}
    for was_training, batch in seen:
        if not was_training:
            assert batch.event is None
            assert batch.time_bin is None
            continue
        rows = own.loc[list(batch.patient_id)]
        assert batch.event is not None
        assert batch.time_bin is not None
        assert batch.event.tolist() == rows["event"].tolist()
        assert batch.time_bin.tolist() == discrete.time_bin(rows["time_days"].to_numpy(), edges=edges).tolist()
        moved = batch.to(torch.device("meta"))
        assert (moved.event.device.type, moved.time_bin.device.type) == ("meta", "meta")  # type: ignore[union-attr]


def test_too_few_events_for_the_bins_of_a_model(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TTA, "outcome_bins", 4)
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    tables.write_table(study.folder / "patients.tsv", table.assign(time_days=100.0), columns=tables.PATIENTS)
    with pytest.raises(InputError, match=r"cut into the model's bins = 4 bins, found 1 distinct times"):
        trained(study)


def poison(study: Study, role: str) -> None:
    """Other features for the patients of a role."""
    for path in [path for one in study.ids(role) for path in study.features(one)]:
        write_features_file(path, np.full((3, 6), 100.0, dtype=np.float16))


def test_prototypes_see_training_patients_alone_and_the_artifact_holds_them(study: Study) -> None:
    first = trained(study, model=SMALL, standardise_features=True)
    assert first.weights["centres"].shape == (3, 6)
    poison(study, "test")
    poison(study, "validation")
    again = trained(study, model=SMALL, standardise_features=True)
    assert again.weights["centres"].tobytes() == first.weights["centres"].tobytes()
    other = trained(study, model=SMALL)
    assert not np.array_equal(other.weights["centres"], first.weights["centres"])  # of features as they are


@pytest.mark.parametrize("standardised", [False, True])
def test_whole_bags_are_summarised_once_per_patient(
    study: Study, monkeypatch: pytest.MonkeyPatch, standardised: bool
) -> None:
    """Drawn patches would be fewer than a bag's; exchanged bags are those of test patients that were read before."""
    seen: list[Batch] = []
    summarise = mmp.MMP.summarise

    def watched(self: mmp.MMP, batch: Batch) -> torch.Tensor:
        seen.append(batch)
        return summarise(self, batch)

    monkeypatch.setattr(mmp.MMP, "summarise", watched)
    checkpoint = trained(study, model=SMALL, patches=1, epochs=4, standardise_features=standardised)
    watched_ids = study.ids("train") + study.ids("validation")
    counts = Counter(one for batch in seen for one in batch.patient_id)
    assert set(counts) == set(watched_ids)
    assert max(counts.values()) <= 2  # while training, and for the scores of the weights that were chosen
    for batch in seen:
        (one,) = batch.patient_id
        stored = np.concatenate([artifacts.read_features(path) for path in study.features(one)]).astype(np.float32)
        if standardised:
            stored = (stored - checkpoint.scaler["feature_mean"]) / checkpoint.scaler["feature_scale"]
        np.testing.assert_allclose(batch.features[0].numpy(), stored, rtol=1e-6)
    assert bytes_of(trained(study, model=SMALL, patches=999, epochs=4, standardise_features=standardised)) == bytes_of(
        checkpoint
    )
    seen.clear()
    predictions = predicted(study, "summaries", exchanges=5)
    assert sorted(one for batch in seen for one in batch.patient_id) == sorted(study.ids("test"))
    assert predictions.exchanged["histology"].shape == (5, len(study.ids("test")))
    assert not np.array_equal(predictions.exchanged["histology"][0], predictions.risk)


def test_a_summary_of_the_stage_gives_the_risk_of_the_bag_itself(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(study, model=SMALL, standardise_features=True)
    by_summary = predicted(study, "summaries")
    build = mmp.MMP.__init__

    def without(self: mmp.MMP, *args: Any, **options: Any) -> None:
        build(self, *args, **options)
        self.summarises = False

    monkeypatch.setattr(mmp.MMP, "__init__", without)
    by_bag = predicted(study, "bags")
    np.testing.assert_allclose(by_summary.risk, by_bag.risk, rtol=1e-5)
    np.testing.assert_allclose(by_summary.exchanged["histology"], by_bag.exchanged["histology"], rtol=1e-5)


def predicted(study: Study, name: str, **options: Any) -> artifacts.Predictions:
    """Of the checkpoint that `trained` wrote."""
    out = study.folder / "evaluate" / f"{name}.h5"
    evaluate.run(
        **study.inputs,  # type: ignore[arg-type]
        trained=study.folder / "train" / "checkpoint.h5",
        out=out,
        config=config.Evaluate(**{"device": "cpu"} | options),
        bad_slides=config.BadSlides(),
    )
    return artifacts.read_predictions(out)


@pytest.mark.parametrize("model", [SMALL, SMALL_PIBD], ids=["mmp", "pibd"])
def test_killed_and_taken_up_again_it_is_the_same_training(
    study: Study, monkeypatch: pytest.MonkeyPatch, model: Architecture
) -> None:
    whole = trained(study, model=model)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_report", killed)
        patch.setattr(resume, "SAVE_EVERY_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            trained(study, model=model)
    assert bytes_of(trained(study, model=model)) == bytes_of(whole)


@pytest.mark.parametrize("model", [SMALL, SMALL_PIBD], ids=["mmp", "pibd"])
def test_evaluation_takes_what_was_fitted_from_the_artifact(study: Study, model: Architecture) -> None:
    trained(study, model=model)
    risks = [predicted(study, name).risk for name in ("first", "again")]
    assert np.isfinite(risks[0]).all()
    assert risks[0].tobytes() == risks[1].tobytes()
