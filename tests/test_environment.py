"""One list of dependencies, written for pip and for conda."""

import tomllib

import yaml
from packaging.requirements import Requirement

from tests.conftest import ROOT

# PyPI name -> conda-forge name, where they differ.
CONDA_NAMES = {
    "matplotlib": "matplotlib-base",
    "openslide-bin": "openslide",
    "snakemake": "snakemake-minimal",
    "torch": "pytorch",
}


def test_conda_and_pip_ask_for_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    pip = {CONDA_NAMES.get(item.name, item.name): item.specifier for item in wanted}
    pip["python"] = Requirement(f"python{project['requires-python']}").specifier
    lines = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    conda = {item.name: item.specifier for item in map(Requirement, lines)}
    assert conda == pip


def test_constraints_pair_torch_with_its_torchvision() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert pinned["torch"].split(".")[:2] == ["2", "13"]
    assert pinned["torchvision"].split(".")[:2] == ["0", "28"]  # torchvision 0.(n + 15) is built for torch 2.n


def test_the_version_is_written_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
