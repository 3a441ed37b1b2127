"""Snakemake as a user runs it, on a tiny study of real slides that is run once a session and copied for each test."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT


@dataclass(frozen=True)
class Workflow:
    """A study in its folder."""

    folder: Path

    @property
    def configfile(self) -> Path:
        return self.folder / "study.yaml"

    def command(self, *arguments: str) -> list[str]:
        fixed = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder), "--cores", "2"]
        fixed += ["--max-jobs-per-timespan", "100/1s"]  # as many seconds does the end of a run wait
        return [sys.executable, "-m", "snakemake", *fixed, "--configfile", str(self.configfile), *arguments]

    def environment(self) -> dict[str, str]:
        return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments), env=self.environment(), capture_output=True, text=True, check=False, timeout=600
        )

    def succeed(self, *arguments: str) -> str:
        done = self.run(*arguments)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        return text

    def planned(self, *arguments: str) -> Counter[str]:
        """Jobs that a dry run plans, by rule."""
        text = self.succeed("--dry-run", *arguments)
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", text, flags=re.MULTILINE | re.DOTALL)
        rows = [] if table is None else table.group(1).split("\n")
        return Counter({name: int(count) for name, count in (row.split() for row in rows if row.strip())})

    def configure(self, **sections: object) -> None:
        """Merge sections into the study's config."""
        content = yaml.safe_load(self.configfile.read_text(encoding="utf-8"))
        for name, section in sections.items():
            old = content.get(name)
            content[name] = old | section if isinstance(old, dict) and isinstance(section, dict) else section
        self.configfile.write_text(yaml.safe_dump(content), encoding="utf-8")


def write_study(folder: Path) -> Workflow:
    """Raw input of fourteen patients, and an encoder with random weights."""
    from safetensors.torch import save_file

    from tests.synthetic import write_cohort
    from tta_pipeline.models.torchvision_import import import_torchvision

    import_torchvision()
    model = importlib.import_module("timm").create_model("test_efficientnet", num_classes=0)
    write_cohort(folder / "input", patients=14, seed=0, edge_px=800)
    save_file(model.state_dict(), folder / "input" / "weights.safetensors")
    content = {
        "inputs": {name: f"input/{file}" for name, file in INPUT_FILES.items()},
        "cohort": {"slides_per_job": 8},  # two jobs: each loads the encoder anew
        "bad_slides": {"policy": "exclude", "limit": 1},
        "tiles": {"mpp": 2.0, "tile_size_px": 64},
        "features": {"encoder": "test_efficientnet", "weights": "input/weights.safetensors"},
        "splits": {"folds": 2, "validation_fraction": 0},
        "models": {"tta": {"prototypes": 4}},
        "train": {"epochs": 1},
        "report": {"bootstrap": 100},
    }
    workflow = Workflow(folder)
    workflow.configfile.write_text(yaml.safe_dump(content), encoding="utf-8")
    return workflow


INPUT_FILES = {
    "slides": "slides.tsv",
    "clinical": "clinical.tsv",
    "expression": "expression.tsv",
    "gene_sets": "gene_sets.gmt",
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A study that ran from raw slides to the report. Do not change it: take `study`."""
    workflow = write_study(tmp_path_factory.mktemp("finished"))
    workflow.succeed()
    return workflow


@pytest.fixture
def study(finished: Workflow, tmp_path: Path) -> Workflow:
    """A copy of the finished study, with the times of its files."""
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Workflow(folder)


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Workflow]:
    """Makes a study of which nothing has run."""
    return lambda: write_study(tmp_path / "fresh")
