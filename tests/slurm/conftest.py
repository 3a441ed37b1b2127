"""SLURM on this machine and a Snakemake that knows it; where that cannot be, a skip that says why."""

import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.slurm.cluster import CannotRunError, Cluster, install
from tests.workflow.conftest import Workflow


@dataclass(frozen=True)
class SlurmWorkflow(Workflow):
    """A study whose jobs SLURM runs, as one of our profiles says."""

    python: Path
    profile: str

    def command(self, *arguments: str) -> list[str]:
        profile = ROOT / "workflow" / "profiles" / self.profile
        fixed = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder)]
        fixed += ["--workflow-profile", str(profile), "--configfile", str(self.configfile), "--jobs", "4"]
        # The profile's patience is for jobs of hours.
        fixed += ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10"]
        fixed += ["--max-jobs-per-timespan", "100/1s"]
        return [str(self.python), "-m", "snakemake", *fixed, *arguments]

    def environment(self) -> dict[str, str]:
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}


@contextmanager
def running(*, accounting: bool) -> Iterator[Cluster]:
    """A cluster that is taken down whatever happens."""
    try:
        install(accounting=accounting)
    except CannotRunError as error:
        pytest.skip(f"SLURM cannot run here: {error}")
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="tta-slurm-")), accounting)
    try:
        try:
            cluster.up()
        except (RuntimeError, OSError) as error:  # a machine whose kernel or container lets no such daemons run
            pytest.skip(f"SLURM cannot be started here: {error}")
        yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def slurm_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own that sees this one's packages: the plugin slows every call that finds it."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command += ["--constraint", str(ROOT / "constraints.txt"), *project["optional-dependencies"]["slurm"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"SLURM's plugin for Snakemake cannot be installed here: {done.stderr.strip()[-300:]}")
    return python
