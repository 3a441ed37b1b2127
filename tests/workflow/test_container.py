"""`--sdm apptainer`: the image is the user's, and a stand-in for `apptainer` notes what Snakemake asks of it.

The stand-in runs the command on this machine. That an image is built, found and enters the container is not shown.
"""

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_containers import docker_copies
from tests.workflow.conftest import Workflow

STAND_IN = """\
#!/bin/sh
case "$*" in *--version) echo "apptainer version 1.3.4"; exit ;; esac
echo "$@" >> "{notes}"
while [ "$1" != -c ]; do shift; done
exec bash -c "$2"
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in writes its arguments."""
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(notes=tmp_path / "notes"), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return tmp_path / "notes"


def test_a_rule_runs_in_the_image_that_the_user_names(
    study: Workflow, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "tta-pipeline.sif"
    image.touch()
    monkeypatch.setenv("TTA_CONTAINER", str(image))
    study.succeed("--sdm", "apptainer", "--forcerun", "splits", "--until", "splits")
    (call,) = [line for line in notes.read_text(encoding="utf-8").splitlines() if "tta_pipeline splits" in line]
    assert f" {image} bash -c " in call


def test_what_the_recipes_copy_is_enough_to_run_a_rule(study: Workflow, tmp_path: Path) -> None:
    checkout = tmp_path / "opt"
    checkout.mkdir()
    for name in docker_copies():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, checkout / name)
    (checkout / "profiles").symlink_to("workflow/profiles")
    text = study.succeed("--snakefile", str(checkout / "Snakefile"), "--forcerun", "splits", "--until", "splits")
    assert "\nsplits: 1 of 1\n" in text
    assert "profiles/default" in text


def test_without_an_image_nothing_runs(study: Workflow, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TTA_CONTAINER", raising=False)
    done = study.run("--sdm", "apptainer", "--forcerun", "splits", "--until", "splits")
    assert done.returncode != 0
    assert "expected the image in the environment variable TTA_CONTAINER, found none" in done.stdout + done.stderr
    assert not notes.exists()


def test_an_image_is_not_used_unless_asked_for(study: Workflow, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTA_CONTAINER", "/no/such/image.sif")
    assert not study.planned()
    assert not notes.exists()
