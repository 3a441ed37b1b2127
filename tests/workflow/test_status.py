"""What a run says of itself at its end, and that `status` sees as outdated what Snakemake would run again."""

import re
import shutil
from pathlib import Path

import pytest

from tests.workflow.conftest import Workflow
from tta_pipeline.commands import status

KILLED = 'case "$*" in *"tta_pipeline train"*r0_f1*) sh -c "kill -9 \\$\\$" ;; *) command python "$@" ;; esac'


def states(study: Workflow, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    status.run(study=[study.configfile], directory=study.folder)
    return dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())


def test_a_new_time_alone_outdates_nothing(study: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    patients = study.folder / "results" / "cohort" / "patients.tsv"
    patients.touch()
    assert not study.planned()
    assert states(study, capsys)["train"] == "2 done"
    patients.write_text(patients.read_text(encoding="utf-8").replace("\t0\t", "\t1\t", 1), encoding="utf-8")
    assert study.planned()["train"] == 2
    said = states(study, capsys)
    assert (said["splits"][:10], said["train"], said["report"]) == ("1 outdated", "2 outdated", "1 outdated")


def test_a_killed_job_is_named_at_the_end(
    study: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "functions").write_text(f"python() {{ {KILLED}; }}\n", encoding="utf-8")
    monkeypatch.setenv("BASH_ENV", str(tmp_path / "functions"))
    done = study.run("--forcerun", "train", "--until", "train")
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "train tta/r0_f0_s0: 1 of 2\n" in said
    assert (
        "python -m tta_pipeline train returned non-zero exit status 137.\nlogs/train/tta/r0_f1_s0.log ends so:\n"
        in said
    )
    assert "--model" not in said  # nor any other kilobyte of the command
    assert "train: 1 done, 1 failed\n" in done.stdout
    assert (
        "train tta/r0_f1_s0: ended without a word: killed, or out of memory or time (logs/train/tta/r0_f1_s0.log"
        in said
    )
    assert states(study, capsys)["train"] == "1 done, 1 begun"


def test_a_job_of_many_files_is_told_in_few_words(study: Workflow) -> None:
    """Without the `quiet` of the default profile, as the profiles of clusters have it."""
    (study.folder / "pydantic.py").write_text("raise ImportError('absent')", encoding="utf-8")
    done = study.run("--quiet", "host", "--forcerun", "report", "--until", "report")
    assert re.search(r"^    output: (\S+, ){8}and \d+ more$", done.stderr, flags=re.MULTILINE)
    assert "        python -m tta_pipeline report ... 2> logs/report/report.log\n" in done.stderr
    assert max(map(len, done.stderr.splitlines())) < 500


def test_logs_are_listed_where_the_python_of_snakemake_has_no_package(study: Workflow) -> None:
    """The folder in which Snakemake runs comes first where Python looks for modules."""
    (study.folder / "pydantic.py").write_text("raise ImportError('absent')", encoding="utf-8")
    done = study.run("--forcerun", "splits", "--until", "splits")
    assert "\nlogs/splits/splits.log, which has no result, ends so:\n" in f"\n{done.stdout}"
    assert "  ImportError: absent\n" in done.stdout
    assert "logs/cohort" not in done.stdout


def test_a_run_begins_and_ends_with_the_state_of_the_study(study: Workflow) -> None:
    for folder in ("results", "logs"):
        shutil.rmtree(study.folder / folder / "report")
    said = study.succeed()
    before, after = said.index("report: 1 missing"), said.index("report: 1 done")
    assert before < after
