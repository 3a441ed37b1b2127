"""How far a study is: from artifacts and logs of every kind of job."""

import json
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


def begin(folder: Path) -> None:
    results, logs = folder / "results", folder / "logs"
    slides = pd.DataFrame({"slide_id": ["s1", "s2", "s3", "s4"], "batch": ["b0001", "b0001", "b0002", "b0002"]})
    tables.write_table(results / "cohort" / "batches.tsv", slides, columns=tables.BATCHES)
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
    rows = ['{"options": "x"}', json.dumps({"slide_id": "s3", "file": "f", "n": 1}), '{"slide_id": "s4", "fi']
    (results / "tiles" / "batches" / "b0002.tsv.partial").write_text("\n".join(rows))
    (results / "train" / "a").mkdir(parents=True)
    (results / "train" / "a" / "r0_f0_s0.h5").touch()
    (results / "train" / "a" / "r0_f1_s0.h5.0.partial").touch()
    (logs / "train" / "b").mkdir(parents=True)
    (logs / "train" / "b" / "r0_f0_s0.log").write_text("I epoch 1\nerror: expected events, found:\n  none\nmore\n")
    (logs / "train" / "b" / "r0_f1_s0.log").write_text(
        "Traceback (most recent call last):\n  File x\nValueError: wrong\n"
    )


def test_a_study_of_which_nothing_has_run(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["status", "--study", str(study / "study.yaml"), "--directory", str(study)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["cohort: 1 missing", "pathways: 1 missing"]
    assert "train: 4 missing" in said
    assert said[-1].endswith("report: none yet")


def test_done_begun_failed_and_missing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(study)
    with pytest.raises(InputError) as caught:
        status.run(study=study / "study.yaml", directory=study)
    said = capsys.readouterr().out
    assert "tiles: 1 done, 1 begun (slides: 2 of 4 done, 1 left out)" in said
    assert "features: 2 missing (slides: 0 of 4 done)" in said
    assert "train: 1 done, 1 begun, 2 failed" in said
    message = str(caught.value)
    assert message.startswith("expected jobs that succeed, found 2 that failed:\n")
    log = study / "logs" / "train" / "b" / "r0_f0_s0.log"
    assert f"  train b/r0_f0_s0: expected events, found:\n    none ({log})\n" in message
    assert "train b/r0_f1_s0: ValueError: wrong" in message


def test_a_job_that_succeeded_later_has_not_failed(study: Path) -> None:
    begin(study)
    for fit in ("r0_f0_s0", "r0_f1_s0"):
        (study / "results" / "train" / "b").mkdir(exist_ok=True)
        (study / "results" / "train" / "b" / f"{fit}.h5").touch()
    status.run(study=study / "study.yaml", directory=study)
