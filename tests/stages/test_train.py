from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.builders import Study, write_features_file, write_pathways, write_study
from tta_pipeline import config
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, tables
from tta_pipeline.io.artifacts import Checkpoint
from tta_pipeline.model_sections import Architecture
from tta_pipeline.models import resume
from tta_pipeline.numerics.alignment import rho_at
from tta_pipeline.stages import train, training

SMALL = {"hidden_dim": 8, "shared_dim": 8, "prototypes": 3, "heads": 2}


def trained(
    study: Study, *, seed: int = 0, model: dict[str, Any] | Architecture | None = None, **options: Any
) -> Checkpoint:
    """What training writes; a model is a section, or what a small TTA has otherwise."""
    out = study.folder / "train" / "checkpoint.h5"
    train.run(
        **study.inputs,  # type: ignore[arg-type]
        repeat=0,
        fold=0,
        seed=seed,
        name="small",
        out=out,
        model=model if isinstance(model, Architecture) else config.TTA(**SMALL | (model or {})),  # type: ignore[arg-type]
        config=config.Train(**{"epochs": 3, "batch_size": 6, "patches": 5, "device": "cpu"} | options),
        bad_slides=config.BadSlides(),
    )
    return artifacts.read_checkpoint(out)


def bytes_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    groups = ("weights", "scaler", "baseline", "history")
    return {f"{g}/{name}": value.tobytes() for g in groups for name, value in getattr(checkpoint, g).items()}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return write_study(tmp_path)


def test_the_artifact_says_what_was_trained_on_whom(study: Study) -> None:
    checkpoint = trained(study)
    events = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS).set_index("patient_id")["event"]
    found = checkpoint.attributes
    assert found["model"] == config.TTA(**SMALL).model_dump(mode="json")
    expected = {"name": "small", "repeat": 0, "fold": 0, "seed": 0, "epoch": 3, "feature_dim": 6, "excluded": {}}
    expected |= {"chosen_on": "last epoch"}
    assert expected.items() <= found.items()
    assert (found["n_train"], found["n_validation"]) == (16, 4)
    assert found["n_train_events"] == events[study.ids("train")].sum()
    columns = {"loss_cox", "loss_assignment_histology", "loss_contrast_genomics", "loss_consistency_genomics"}
    columns |= {"rho", "learning_rate", "train_c_index", "validation_c_index", "validation_cox", "solver_residual"}
    columns |= {"solver_iterations", "steps_without_events", "working_head_histology", "working_head_genomics"}
    assert columns <= set(checkpoint.history)
    assert {len(values) for values in checkpoint.history.values()} == {3}


def test_scaler_and_baseline_are_those_of_the_training_patients(study: Study) -> None:
    checkpoint = trained(study, standardise_features=True)
    pathways = artifacts.read_pathways(study.folder / "pathways.h5")
    genes = pathways.expression[[pathways.patient_id.index(one) for one in study.ids("train")]]
    np.testing.assert_allclose(checkpoint.scaler["gene_mean"], genes.mean(0), atol=1e-6)
    np.testing.assert_allclose(checkpoint.scaler["gene_scale"], genes.std(0), rtol=1e-5)
    patches = np.concatenate(
        [artifacts.read_features(path) for one in study.ids("train") for path in study.features(one)]
    ).astype(np.float64)
    np.testing.assert_allclose(checkpoint.scaler["feature_mean"], patches.mean(0), atol=1e-6)
    np.testing.assert_allclose(checkpoint.scaler["feature_scale"], patches.std(0), rtol=1e-5)
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS).set_index("patient_id")
    times = table.loc[study.ids("train"), "time_days"]
    np.testing.assert_array_equal(checkpoint.baseline["time_days"], np.unique(times))
    assert (np.diff(checkpoint.baseline["cumulative_hazard"]) >= 0).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(study: Study) -> None:
    first, again, other = bytes_of(trained(study)), bytes_of(trained(study)), bytes_of(trained(study, seed=1))
    assert first == again
    assert first["weights/prototypes.bank"] != other["weights/prototypes.bank"]


def test_the_cache_changes_nothing(study: Study) -> None:
    assert bytes_of(trained(study)) == bytes_of(trained(study, cache_gb=0))


@pytest.mark.parametrize("checkpoint", ["last", "validation"])
def test_test_patients_leave_no_trace(study: Study, checkpoint: str) -> None:
    clean = bytes_of(trained(study, checkpoint=checkpoint, standardise_features=True))
    poisoned = study.ids("test")
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    rows = table["patient_id"].isin(poisoned)
    table.loc[rows, "time_days"], table.loc[rows, "event"] = 1e6, ~table.loc[rows, "event"]
    tables.write_table(study.folder / "patients.tsv", table, columns=tables.PATIENTS)
    pathways = artifacts.read_pathways(study.folder / "pathways.h5")
    pathways.expression[[pathways.patient_id.index(one) for one in poisoned]] = np.nan
    write_pathways(study.folder / "pathways.h5", ids=pathways.patient_id, expression=pathways.expression)
    for one in poisoned:
        for path in study.features(one):
            path.write_bytes(b"not HDF5")
    assert bytes_of(trained(study, checkpoint=checkpoint, standardise_features=True)) == clean


@pytest.mark.parametrize("checkpoint", ["last", "validation"])
def test_validation_patients_choose_the_epoch_and_nothing_else(study: Study, checkpoint: str) -> None:
    def weights() -> dict[str, bytes]:
        found = bytes_of(trained(study, checkpoint=checkpoint, learning_rate=0.01, epochs=4))
        return {key: value for key, value in found.items() if not key.startswith("history/validation")}

    before = weights()
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    rows = table["patient_id"].isin(study.ids("validation"))
    table.loc[rows, "time_days"] = table.loc[rows, "time_days"].to_numpy()[::-1]
    tables.write_table(study.folder / "patients.tsv", table, columns=tables.PATIENTS)
    if checkpoint == "last":
        assert weights() == before
    else:
        assert {key for key in before if key.startswith(("scaler/", "history/"))} <= {
            key for key, value in weights().items() if value == before[key]
        }


def test_the_best_epoch_is_kept_with_the_mass_it_reached(study: Study) -> None:
    options: dict[str, Any] = {"epochs": 6, "learning_rate": 0.02, "warmup_fraction": 0.0, "checkpoint": "validation"}
    checkpoint = trained(study, **options)
    best = int(np.argmin(checkpoint.history["validation_cox"])) + 1
    assert checkpoint.attributes["epoch"] == best
    per_epoch = 3  # 16 patients in batches of at most 6
    expected = rho_at(best - 1 + (per_epoch - 1) / per_epoch, start=0.1, epochs=10, sharpness=5)
    assert checkpoint.weights["rho"] == pytest.approx(expected)
    assert checkpoint.history["rho"][best - 1] == pytest.approx(expected)


def test_published_chooses_by_the_test_patients_and_says_so(study: Study) -> None:
    options: dict[str, Any] = {"epochs": 6, "learning_rate": 0.02, "warmup_fraction": 0.0}
    checkpoint, honest = trained(study, checkpoint="published", **options), trained(study, **options)
    assert (checkpoint.attributes["chosen_on"], checkpoint.attributes["n_test"]) == ("test", 5)
    assert checkpoint.attributes["epoch"] == int(np.argmin(checkpoint.history["test_cox"])) + 1 < 6
    for column in honest.history:  # but for the choice it is the same training
        np.testing.assert_array_equal(checkpoint.history[column], honest.history[column])
    assert not any(column.startswith("test_") for column in honest.history)


def test_published_needs_events_in_the_test_part(study: Study) -> None:
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    table.loc[table["patient_id"].isin(study.ids("test")), "event"] = False
    tables.write_table(study.folder / "patients.tsv", table, columns=tables.PATIENTS)
    with pytest.raises(InputError, match="published expects test patients with events, found 5 patients and no event"):
        trained(study, checkpoint="published")


def test_a_patient_with_fewer_tokens_than_prototypes_is_named_before_training(study: Study) -> None:
    with pytest.raises(InputError, match=r"prototypes \(now 40\), found fewer .* for 16 of 16 patients: P0"):
        trained(study, model={"prototypes": 40})
    assert not (study.folder / "train" / "checkpoint.h5.partial").exists()


def test_it_learns_a_planted_risk(study: Study) -> None:
    options: dict[str, Any] = {"epochs": 40, "learning_rate": 0.01, "batch_size": 16, "warmup_fraction": 0.1}
    history = trained(study, model={"dropout": 0.0}, **options).history
    assert history["train_c_index"][-1] > 0.85
    assert history["loss_cox"][-1] < history["loss_cox"][0] - 0.3


def test_batches_without_events_are_counted(study: Study) -> None:
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    table["event"] = table["patient_id"] == "P03"
    tables.write_table(study.folder / "patients.tsv", table, columns=tables.PATIENTS)
    history = trained(study).history
    assert history["steps_without_events"].tolist() == [2, 2, 2]
    assert np.isfinite(history["loss_cox"]).all()
    quiet = trained(study, model={"together": False, "anchors": False}).history  # such a batch has no term at all
    assert quiet["steps_without_events"].tolist() == [2, 2, 2]


def test_no_event_at_all_is_an_error(study: Study) -> None:
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    table["event"] = False
    tables.write_table(study.folder / "patients.tsv", table, columns=tables.PATIENTS)
    with pytest.raises(InputError, match="expected events among the training patients, found none in 16"):
        trained(study)


def test_validation_needs_validation_patients(tmp_path: Path) -> None:
    study = write_study(tmp_path, n_validation=0)
    with pytest.raises(InputError, match="found 0 patients and no event"):
        trained(study, checkpoint="validation")
    assert "validation_cox" not in trained(study).history


def retimed(study: Study, *, role: str, **columns: Any) -> None:
    """Rewrite outcomes of the patients of a role."""
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    mine = table["patient_id"].isin(study.ids(role))
    for name, values in columns.items():
        table.loc[mine, name] = values
    tables.write_table(study.folder / "patients.tsv", table, columns=tables.PATIENTS)


def test_a_loss_that_compares_nobody_is_refused(study: Study) -> None:
    retimed(study, role="train", time_days=100.0, event=True)
    assert trained(study).history["loss_cox"].size
    with pytest.raises(InputError, match=r"train.loss: ranking expects training patients .* found none among 16"):
        trained(study, loss="ranking")


def test_an_epoch_is_not_chosen_by_patients_whom_the_loss_cannot_compare(study: Study) -> None:
    retimed(study, role="validation", time_days=100.0, event=True)
    assert trained(study, checkpoint="validation").attributes["chosen_on"] == "validation"
    with pytest.raises(
        InputError, match=r"validation patients whom train.loss: ranking can compare, found none among 4"
    ):
        trained(study, checkpoint="validation", loss="ranking")
    assert "validation_ranking" not in trained(study, loss="ranking").history


def test_a_patient_without_features_or_expression_is_named(study: Study) -> None:
    pathways = artifacts.read_pathways(study.folder / "pathways.h5")
    write_pathways(study.folder / "pathways.h5", ids=["X", *pathways.patient_id[1:]], expression=pathways.expression)
    with pytest.raises(InputError, match="found none for 1: P00"):
        trained(study)
    drop_slides(study, "P01")
    with pytest.raises(InputError, match=r"expected outcome and features of 20 .* found none for 1: P01"):
        trained(study)


def drop_slides(study: Study, patient_id: str) -> None:
    table = tables.read_table(study.folder / "slides.tsv", columns=tables.SLIDES)
    tables.write_table(study.folder / "slides.tsv", table[table["patient_id"] != patient_id], columns=tables.SLIDES)


def test_features_from_a_manifest_and_its_excluded_slides(study: Study) -> None:
    sheet = tables.read_table(study.folder / "slides.tsv", columns=tables.SLIDES)
    manifest = pd.DataFrame({"slide_id": sheet["slide_id"], "file": sheet["features"], "n": 1, "excluded": ""})
    manifest["fingerprint"] = ""
    manifest.loc[manifest["slide_id"] == "P00-0", ["file", "excluded"]] = ["", "no tissue"]
    tables.write_table(study.folder / "manifest.tsv", manifest, columns=tables.MANIFEST)
    tables.write_table(study.folder / "slides.tsv", sheet.assign(features=""), columns=tables.SLIDES)
    out = study.folder / "out.h5"
    arguments: dict[str, Any] = study.inputs | {"manifests": [study.folder / "manifest.tsv"]}
    options = config.Train(epochs=1, device="cpu")
    train.run(
        **arguments,
        repeat=0,
        fold=0,
        seed=0,
        name="small",
        out=out,
        model=config.TTA(**SMALL),
        config=options,
        bad_slides=config.BadSlides(policy="exclude", limit=1),
    )
    assert artifacts.read_checkpoint(out).attributes["n_train"] == 15  # P00 had that slide alone


def test_risks_that_blow_up_name_a_patient_and_the_remedy(study: Study) -> None:
    write_features_file(study.features("P02")[0], np.full((3, 6), 3e38, dtype=np.float32))
    with pytest.raises(InputError, match=r"P02.*standardise_features"):
        trained(study)


@pytest.mark.parametrize("checkpoint", ["last", "validation"])
def test_a_killed_training_goes_on_to_the_same_weights(
    study: Study, monkeypatch: pytest.MonkeyPatch, checkpoint: str
) -> None:
    monkeypatch.setattr(resume, "SAVE_EVERY_S", 0.0)
    whole = trained(study, epochs=4, checkpoint=checkpoint)
    (study.folder / "train" / "checkpoint.h5").unlink()
    report = training._report
    epochs: list[int] = []

    def killed(*arguments: Any, epoch: int, **options: Any) -> None:
        epochs.append(epoch)
        if epoch == 2 and epochs.count(2) == 1:
            raise KeyboardInterrupt
        report(*arguments, epoch=epoch, **options)

    monkeypatch.setattr(training, "_report", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(study, epochs=4, checkpoint=checkpoint)
    assert [path.name for path in (study.folder / "train").iterdir()] == ["checkpoint.h5.partial"]
    again = trained(study, epochs=4, checkpoint=checkpoint)
    assert epochs == [1, 2, 3, 4]
    assert bytes_of(again) == bytes_of(whole)
    assert whole.attributes["epochs_run"] == 4
    assert again.attributes == whole.attributes | {"epochs_run": 2}
    assert [path.name for path in (study.folder / "train").iterdir()] == ["checkpoint.h5"]


def test_a_training_of_less_than_the_interval_writes_no_state(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, epoch: int, epochs: int, **__: Any) -> None:
        if epoch == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_report", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(study)
    assert not (study.folder / "train").exists()


def test_a_state_of_older_code_is_not_taken_up(
    study: Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(resume, "SAVE_EVERY_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(training, "_report", killed)
        patch.setattr(train, "FORMAT", resume.FORMAT - 1)
        with pytest.raises(KeyboardInterrupt):
            trained(study)
    caplog.set_level("INFO")
    trained(study)
    assert "starting anew" in caplog.text
    assert "going on after" not in caplog.text


@pytest.mark.parametrize("left", ["another training", "rubbish"])
def test_a_state_that_does_not_fit_is_not_taken_up(study: Study, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_report", killed)
        patch.setattr(resume, "SAVE_EVERY_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            trained(study, learning_rate=1e-2)
    if left == "rubbish":
        (study.folder / "train" / "checkpoint.h5.partial").write_bytes(b"PK rubbish")
    found = trained(study)
    assert bytes_of(found) == bytes_of(trained(study))
    assert len(found.history["rho"]) == 3
