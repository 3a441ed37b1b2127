"""A local channel with the names of environment.yml, and a `conda` that reads it."""

import asyncio
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conda.packages import Package, closure, installed_package, python_package
from tests.conftest import ROOT
from tests.test_environment import CONDA_NAMES

ABSENT = "py-rattler is not installed (make test-slow installs it): --use-conda is not exercised"


@dataclass(frozen=True)
class CondaInstallation:
    """A folder with `bin/conda` and `bin/activate`, and its channels."""

    root: Path

    @property
    def channels(self) -> Path:
        return self.root / "channels"

    def write_commands(self) -> None:
        client = f"'{sys.executable}' '{ROOT / 'tests/conda/client.py'}'"
        options = f"--root '{self.root}' --channel-alias 'file://{self.channels}/'"
        (self.root / "bin").mkdir(parents=True)
        conda = self.root / "bin" / "conda"
        conda.write_text(f'#!/bin/sh\nexec {client} {options} "$@"\n', encoding="utf-8")
        conda.chmod(0o755)
        activate = f"""eval "$('{conda}' shell.posix activate "$1")"\n"""
        (self.root / "bin" / "activate").write_text(activate, encoding="utf-8")

    def create_environment(self, prefix: Path) -> None:
        """Create the environment of environment.yml, with the command that Snakemake gives."""
        fixed = ["env", "create", "--quiet", "--no-default-packages", "--file", str(ROOT / "environment.yml")]
        subprocess.run([str(self.root / "bin" / "conda"), *fixed, "--prefix", str(prefix)], check=True)

    def write_channels(self, packages: Iterable[Package]) -> None:
        """Two channels as environment.yml names them: Snakemake's in bioconda, all others in conda-forge."""
        rattler = pytest.importorskip("rattler", reason=ABSENT)
        from rattler.index import index_fs

        for package in packages:
            channel = "bioconda" if package.name == "snakemake-minimal" else "conda-forge"
            package.write(self.channels / channel, platform=str(rattler.Subdir.current()))
        for channel in ("conda-forge", "bioconda"):
            (self.channels / channel / "noarch").mkdir(parents=True, exist_ok=True)
            asyncio.run(index_fs(self.channels / channel))


def installed_packages() -> list[Package]:
    """What pyproject.toml asks for and all that it needs, under conda-forge's names, as it is installed here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [canonicalize_name(Requirement(line).name) for line in project["dependencies"]]
    packages = [installed_package(name, conda_names=CONDA_NAMES) for name in sorted(closure(wanted))]
    return [python_package(), *packages]


@pytest.fixture(scope="session")
def conda(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., CondaInstallation]:
    """Makes a conda whose channels hold these packages."""

    def make(packages: Iterable[Package]) -> CondaInstallation:
        pytest.importorskip("rattler", reason=ABSENT)
        installation = CondaInstallation(tmp_path_factory.mktemp("conda"))
        installation.write_commands()
        installation.write_channels(packages)
        return installation

    return make
