"""How far a study is: from artifacts and logs of every kind of job."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tta_pipeline import cli
from tta_pipeline.commands import status
from tta_pipeline.errors import InputError
from tta_pipeline.io import tables


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two batches of two slides, two folds, models a and b; nothing has run."""
    inputs = dict.fromkeys(("slides", "clinical", "expression", "gene_sets"), "x")
    content = {"inputs": inputs, "splits": {"folds": 2}, "models": {"a": {}, "b": {}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def touch(*paths: Path, second: int = 0, text: str = "") -> None:
    """Write files with a time of their own."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (second, second))


def cohort(results: Path) -> None:
    """Tables of the cohort stage, of which only batches.tsv is one that can be read."""
    touch(*(results / "cohort" / f"{name}.tsv" for name in ("patients", "slides", "attrition", "covariates")))
    slides = pd.DataFrame({"slide_id": ["s1", "s2", "s3", "s4"], "batch": ["b0001", "b0001", "b0002", "b0002"]})
    tables.write_table(results / "cohort" / "batches.tsv", slides, columns=tables.BATCHES)
    os.utime(results / "cohort" / "batches.tsv", (0, 0))


def finish(folder: Path) -> None:
    """Everything but the report, each stage a second younger than what it reads."""
    results = folder / "results"
    cohort(results)
    for batch in ("b0001", "b0002"):
        tiles = results / "tiles" / "batches"
        touch(tiles / f"{batch}.quality.tsv", second=1)
        empty = pd.DataFrame({name: [] for name in tables.MANIFEST})
        for second, stage in enumerate(("tiles", "features"), start=1):
            manifest = results / stage / "batches" / f"{batch}.tsv"
            tables.write_table(manifest, empty, columns=tables.MANIFEST)
            os.utime(manifest, (second, second))
    touch(results / "pathways.h5", results / "pathways_coverage.tsv", results / "splits_parts.tsv", second=1)
    splits = pd.DataFrame({"repeat": [0], "fold": [0], "patient_id": ["p"], "role": ["train"]})
    tables.write_table(results / "splits.tsv", splits, columns=tables.SPLITS)
    os.utime(results / "splits.tsv", (1, 1))
    for model in "ab":
        for fold in (0, 1):
            for second, stage in ((3, "train"), (4, "evaluate")):
                touch(results / stage / model / f"r0_f{fold}_s0.h5", second=second)


def begin(folder: Path) -> None:
    finish(folder)
    results, logs = folder / "results", folder / "logs"
    manifest = pd.DataFrame(
        {
            "slide_id": ["s1", "s2"],
            "file": ["f", ""],
            "n": [3, 0],
            "excluded": ["", "no tissue"],
            "fingerprint": ["x", ""],
        }
    )
    tables.write_table(results / "tiles" / "batches" / "b0001.tsv", manifest, columns=tables.MANIFEST)
    os.utime(results / "tiles" / "batches" / "b0001.tsv", (1, 1))
    (results / "tiles" / "batches" / "b0002.tsv").unlink()
    rows = ['{"options": "x"}', json.dumps({"slide_id": "s3", "file": "f", "n": 1}), '{"slide_id": "s4", "fi']
    (results / "tiles" / "batches" / "b0002.tsv.partial").write_text("\n".join(rows))
    for fit in ("a/r0_f1_s0", "b/r0_f0_s0", "b/r0_f1_s0"):
        (results / "train" / f"{fit}.h5").unlink()
    (results / "train" / "a" / "r0_f1_s0.h5.0.partial").touch()
    touch(logs / "train" / "b" / "r0_f0_s0.log", text="I epoch 1\nerror: expected events, found:\n  none\nmore\n")
    touch(logs / "train" / "b" / "r0_f1_s0.log", text="Traceback (most recent call last):\n  x\nValueError: wrong\n")


def said_of(study: Path, capsys: pytest.CaptureFixture[str], ended: Path | None = None) -> dict[str, str]:
    """What is printed of each stage."""
    status.run(study=[study / "study.yaml"], directory=study, ended=ended)
    return dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())


def test_a_study_of_which_nothing_has_run(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["status", "--study", str(study / "study.yaml"), "--directory", str(study)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["cohort: 1 missing", "pathways: 1 missing"]
    assert "train: 4 missing" in said
    assert said[-1].endswith("report: none yet")


def test_trainings_inside_of_training_parts_are_jobs_of_their_own(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of b alone, whose risks `plus` reads; it is trained on every fold, though the report leaves it out."""
    content = yaml.safe_load((study / "study.yaml").read_text())
    content["models"]["plus"] = {"architecture": "clinical-plus", "risks_of": ["b"]}
    content["inputs"]["covariates"] = ["age"]
    content |= {"report": {"without": ["b"]}}
    content["splits"]["inner_folds"] = 3
    (study / "study.yaml").write_text(yaml.safe_dump(content))
    results = study / "results"
    finish(study)
    (results / "inner_splits.tsv").write_bytes((results / "splits.tsv").read_bytes())
    os.utime(results / "inner_splits.tsv", (1, 1))
    for fold in range(2 * 3):
        touch(results / "inner_train" / "b" / f"r0_f{fold}_s0.h5", second=3)
        touch(results / "inner_evaluate" / "b" / f"r0_f{fold}_s0.h5", second=4)
    for fold in range(2):
        touch(results / "train" / "plus" / f"r0_f{fold}_s0.h5", second=5)
        touch(results / "evaluate" / "plus" / f"r0_f{fold}_s0.h5", second=6)
    said = said_of(study, capsys)
    assert (said["inner_train"], said["inner_evaluate"]) == ("6 done", "6 done")
    assert (said["train"], said["evaluate"]) == ("6 done", "6 done")
    os.utime(results / "inner_evaluate" / "b" / "r0_f4_s0.h5", (9, 9))  # of the second fold
    said = said_of(study, capsys)
    assert (said["train"], said["evaluate"]) == ("5 done, 1 outdated", "5 done, 1 outdated")
    os.utime(results / "evaluate" / "b" / "r0_f0_s0.h5", (9, 9))
    assert said_of(study, capsys)["evaluate"] == "4 done, 2 outdated"


def test_done_begun_failed_and_missing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(study)
    with pytest.raises(InputError) as caught:
        status.run(study=[study / "study.yaml"], directory=study)
    said = capsys.readouterr().out
    assert "tiles: 1 done, 1 begun (slides: 2 of 4 done, 1 left out)" in said
    assert "features: 1 done, 1 outdated (slides: 0 of 4 done)" in said
    assert "train: 1 outdated, 1 begun, 2 failed" in said
    assert "evaluate: 4 outdated" in said
    message = str(caught.value)
    assert message.startswith("expected jobs that succeed, found 2 that failed:\n")
    log = study / "logs" / "train" / "b" / "r0_f0_s0.log"
    assert f"  train b/r0_f0_s0: expected events, found:\n    none ({log})\n" in message
    assert "train b/r0_f1_s0: ValueError: wrong" in message


def test_a_job_that_succeeded_later_has_not_failed(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(study)
    finish(study)
    assert said_of(study, capsys)["train"] == "4 done"


def test_what_is_older_than_what_it_reads_is_outdated_with_all_that_reads_it(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(study)
    results = study / "results"
    touch(results / "report" / "index.html", second=5)
    assert {said_of(study, capsys)[stage] for stage in ("train", "evaluate", "report")} == {"4 done", "1 done"}
    os.utime(results / "train" / "a" / "r0_f1_s0.h5", (9, 9))
    said = said_of(study, capsys)
    assert (said["train"], said["evaluate"], said["report"][:10]) == ("4 done", "3 done, 1 outdated", "1 outdated")
    (results / "train" / "b" / "r0_f0_s0.h5").unlink()
    said = said_of(study, capsys)
    assert (said["train"], said["evaluate"]) == ("3 done, 1 missing", "2 done, 2 outdated")
    os.utime(results / "splits.tsv", (9, 9))
    assert said_of(study, capsys)["train"] == "1 done, 2 outdated, 1 missing"  # the one of that time is not older


def test_a_model_that_the_report_leaves_out_does_not_outdate_it(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(study)
    touch(study / "results" / "report" / "index.html", second=5)
    (study / "results" / "evaluate" / "b" / "r0_f0_s0.h5").unlink()
    assert said_of(study, capsys)["report"] == "1 outdated"
    content = yaml.safe_load((study / "study.yaml").read_text()) | {"report": {"without": ["b"]}}
    (study / "study.yaml").write_text(yaml.safe_dump(content))
    assert said_of(study, capsys)["report"] == "1 done"


def test_a_job_that_left_no_word_has_begun_until_its_run_has_ended(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(study)
    run, logs = study / "run", study / "logs"
    touch(run, second=10)
    for fit, second in (("a/r0_f0_s0", 11), ("a/r0_f1_s0", 9)):
        (study / "results" / "train" / f"{fit}.h5").unlink()
        touch(logs / "train" / f"{fit}.log", second=second, text="I epoch 1\nI epoch 2\n")
    for number in ("7", "8"):
        touch(logs / "slurm" / "rule_train" / "a_0_0_0" / f"{number}.log", second=int(number) + 10)
    assert said_of(study, capsys)["train"] == "2 done, 2 begun"
    with pytest.raises(InputError) as caught:
        said_of(study, capsys, ended=run)
    assert "train: 2 done, 1 begun, 1 failed" in capsys.readouterr().out
    log, scheduler = logs / "train" / "a" / "r0_f0_s0.log", logs / "slurm" / "rule_train" / "a_0_0_0" / "8.log"
    assert str(caught.value) == (
        "expected jobs that succeed, found 1 that failed:\n  train a/r0_f0_s0: ended without a word: killed, or out of "
        f"memory or time ({log}; its scheduler's: {scheduler}; its last line: I epoch 2)"
    )


def test_batches_that_failed_before_the_cohort_was_known(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(study / "logs" / "tiles" / "b0007.log", text="error: expected a slide, found none\n")
    with pytest.raises(InputError, match="tiles b0007: expected a slide, found none"):
        status.run(study=[study / "study.yaml"], directory=study)
    assert "tiles: 1 failed (slides: 0 done)" in capsys.readouterr().out
    cohort(study / "results")
    assert said_of(study, capsys)["tiles"] == "2 missing (slides: 0 of 4 done)"


def test_tables_that_are_missing_or_damaged_hide_nothing_else(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(study)
    (study / "results" / "cohort" / "slides.tsv").unlink()
    said = said_of(study, capsys)
    assert said["cohort"].startswith("1 missing (")
    assert "patients.tsv" in said["cohort"]
    assert said["train"] == "4 outdated"
