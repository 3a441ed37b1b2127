"""The search inside the train stage: on validation patients alone, taken up where it was killed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import Study, write_study
from tests.stages.test_train import bytes_of, trained
from tta_pipeline import config
from tta_pipeline.errors import InputError
from tta_pipeline.io import tables
from tta_pipeline.models import resume
from tta_pipeline.stages import training

GRID = {"learning_rate": [1e-3, 5e-2], "weight_decay": [1e-5, 1e-1]}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return write_study(tmp_path)


@pytest.mark.parametrize("checkpoint", ["last", "validation"])
def test_what_is_kept_is_the_training_with_those_values(study: Study, checkpoint: str) -> None:
    kept = trained(study, search=GRID, checkpoint=checkpoint)
    tried = kept.attributes["search"]
    assert [(row["learning_rate"], row["weight_decay"]) for row in tried] == [
        (rate, decay) for rate in GRID["learning_rate"] for decay in GRID["weight_decay"]
    ]
    losses = []
    for row in tried:
        values = {key: row[key] for key in GRID}
        alone = trained(study, checkpoint=checkpoint, **values)
        losses.append(alone.history["validation_cox"][alone.attributes["epoch"] - 1])
        if row == min(tried, key=lambda one: one["validation_cox"]):
            assert bytes_of(kept) == bytes_of(alone)
            assert kept.attributes == alone.attributes | {"search": tried, "epochs_run": 12}
            assert values.items() <= kept.attributes["recipe"].items()
    np.testing.assert_array_equal(losses, [row["validation_cox"] for row in tried])
    assert len(set(losses)) == len(losses)


def test_the_test_part_is_not_touched(study: Study) -> None:
    before = trained(study, search=GRID)
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    rows = table["patient_id"].isin(study.ids("test"))
    table.loc[rows, "time_days"], table.loc[rows, "event"] = 1e6, ~table.loc[rows, "event"]
    tables.write_table(study.folder / "patients.tsv", table, columns=tables.PATIENTS)
    for one in study.ids("test"):
        for path in study.features(one):
            path.write_bytes(b"not HDF5")
    after = trained(study, search=GRID)
    assert bytes_of(after) == bytes_of(before)
    assert after.attributes == before.attributes


def test_a_killed_search_goes_on_to_the_same_weights(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the second epoch of the third combination: the first two are not trained again."""
    monkeypatch.setattr(resume, "SAVE_EVERY_S", 0.0)
    whole = trained(study, search=GRID)
    (study.folder / "train" / "checkpoint.h5").unlink()
    report = training._report
    epochs: list[int] = []

    def killed(*arguments: Any, epoch: int, **options: Any) -> None:
        epochs.append(epoch)
        if len(epochs) == 8:
            raise KeyboardInterrupt
        report(*arguments, epoch=epoch, **options)

    monkeypatch.setattr(training, "_report", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(study, search=GRID)
    left = sorted(path.name for path in (study.folder / "train").iterdir())
    assert left == [f"checkpoint.h5.{number}.partial" for number in range(3)]
    again = trained(study, search=GRID)
    assert epochs == [1, 2, 3] * 4
    assert bytes_of(again) == bytes_of(whole)
    assert whole.attributes["epochs_run"] == 12
    assert again.attributes == whole.attributes | {"epochs_run": 4}  # of the third its last, and the fourth
    assert [path.name for path in (study.folder / "train").iterdir()] == ["checkpoint.h5"]


def test_a_combination_that_has_ended_is_kept_however_short_it_was(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = training._report
    epochs: list[int] = []

    def killed(*arguments: Any, epoch: int, **options: Any) -> None:
        epochs.append(epoch)
        if len(epochs) == 5:
            raise KeyboardInterrupt
        report(*arguments, epoch=epoch, **options)

    monkeypatch.setattr(training, "_report", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(study, search=GRID)
    assert [path.name for path in (study.folder / "train").iterdir()] == ["checkpoint.h5.0.partial"]
    trained(study, search=GRID)
    assert epochs == [1, 2, 3, 1, 2, *([1, 2, 3] * 3)]


def test_a_combination_that_diverges_is_recorded_and_the_others_are_tried(study: Study) -> None:
    diverging = {"learning_rate": [1e30, 1e-3], "weight_decay": [0]}
    kept = trained(study, search=diverging)
    lost, row = kept.attributes["search"]
    assert np.isnan(lost["validation_cox"])
    assert lost["reason"].startswith("expected ")
    assert kept.attributes["recipe"]["learning_rate"] == row["learning_rate"] == 1e-3
    assert bytes_of(kept) == bytes_of(trained(study, learning_rate=1e-3, weight_decay=0))
    with pytest.raises(
        InputError, match=r"(?s)train.search: .* any of 1 combinations:.*learning_rate=1e\+30 .*expected"
    ):
        trained(study, search=diverging | {"learning_rate": [1e30]})


def test_a_killed_search_leaves_no_state_behind_when_the_study_goes_on_without_it(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_report", killed)
        patch.setattr(resume, "SAVE_EVERY_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            trained(study, search=GRID)
    assert (study.folder / "train" / "checkpoint.h5.0.partial").is_file()
    trained(study)
    assert [path.name for path in (study.folder / "train").iterdir()] == ["checkpoint.h5"]


def test_a_search_needs_validation_patients(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train.search expects validation patients with events.* found 0 patients"):
        trained(write_study(tmp_path, n_validation=0), search=GRID)


def test_a_published_recipe_is_not_searched(study: Study) -> None:
    found = trained(study, model={"recipe": "published", "train": {"epochs": 1}}, search=GRID)
    assert found.attributes["search"] == []
    assert found.attributes["recipe"]["search"] is None
    assert found.attributes["recipe"]["learning_rate"] == 1e-4


def test_a_search_and_a_choice_on_the_test_part_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="search chooses on the validation part, checkpoint: published on the test"):
        config.Train.model_validate({"search": GRID, "checkpoint": "published"})


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"learning_rate": [1e-3]}, "search.weight_decay\n.*Field required"),
        ({"learning_rate": [], "weight_decay": [0]}, "search.learning_rate\n.*at least 1 item"),
        ({"learning_rate": [0], "weight_decay": [0]}, "search.learning_rate.0\n.*greater than 0"),
        ({"learning_rate": [1e-3], "weight_decay": [0], "epochs": [3]}, "search.epochs\n.*Extra inputs"),
    ],
)
def test_grids_that_are_refused(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config.Train.model_validate({"search": grid})
