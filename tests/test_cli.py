"""The command line: flags from signatures, sections from JSON or a file, one message per error."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tta_pipeline import cli
from tta_pipeline.errors import InputError


def splits_arguments(tmp_path: Path, *extra: str) -> list[str]:
    return [
        "splits",
        "--patients",
        str(tmp_path / "none.tsv"),
        "--out",
        str(tmp_path / "s.tsv"),
        "--parts",
        str(tmp_path / "p.tsv"),
        *extra,
    ]


def test_help_lists_every_stage() -> None:
    text = subprocess.run(
        [sys.executable, "-m", "tta_pipeline", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert all(stage in text for stage in cli.STAGES)


def test_help_of_a_stage_shows_the_keys_of_its_section(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run(["splits", "--help"])
    assert stop.value.code == 0
    assert "--config.folds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", '{"folds": 1}'], r"splits: folds: .*greater than or equal to 2, found 1"),
        (["--config", '{"fold": 5}'], r"splits: fold: Extra inputs"),
        (["--config", "{folds: 5}"], r"--config: expected JSON, found"),
        (["--config", "no-such.yaml"], r"no-such\.yaml: expected a config file, found nothing"),
        (["--config", "{}", "--config.folds", "many"], r"splits: folds: .*valid integer.*found 'many'"),
    ],
)
def test_a_wrong_section_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.run(splits_arguments(tmp_path, *arguments)) == 2
    with pytest.raises(InputError, match=message):
        raise InputError(capsys.readouterr().err)


def test_an_error_of_a_stage_has_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(splits_arguments(tmp_path, "--config", "{}")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "none.tsv: expected a table, found nothing" in error
    assert "Traceback" not in error


def test_a_section_comes_from_a_config_file_and_single_keys_overrule_it(tmp_path: Path) -> None:
    patients = tmp_path / "patients.tsv"
    rows = [f"TCGA-AA-{i:04}\tAA\t{i + 1}.0\t{i % 2}\t1" for i in range(12)]
    patients.write_text("\n".join(["patient_id\tsite\ttime_days\tevent\tn_slides", *rows]) + "\n", encoding="utf-8")
    study = tmp_path / "study.yaml"
    inputs = dict.fromkeys(("slides", "clinical", "expression", "gene_sets"), "x")
    study.write_text(json.dumps({"inputs": inputs, "splits": {"folds": 3, "validation_fraction": 0}}), encoding="utf-8")
    out = tmp_path / "splits.tsv"
    arguments = ["splits", "--patients", str(patients), "--out", str(out), "--parts", str(tmp_path / "parts.tsv")]
    arguments += ["--config", str(study)]
    assert cli.run([*arguments, "--config.folds", "2"]) == 0
    folds = {line.split("\t")[1] for line in out.read_text(encoding="utf-8").splitlines()[1:]}
    assert folds == {"0", "1"}
