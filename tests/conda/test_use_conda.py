"""`--sdm conda` from the solve of environment.yml to the report.

Real are Snakemake, the solve of environment.yml with the bounds of every package, the creation of the environment, its
activation, and that rules find in it, and nowhere else, all that they import. Packages are not: each is an archive of
links to what pip installed for the interpreter that runs the tests, with what pip says that it requires. So these
tests do not prove that conda-forge and bioconda have these names and versions, that their builds work or fit together,
or that the program `conda` and its solver say the same: the command is `client.py`.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.conda.conftest import CondaInstallation, installed_packages
from tests.conftest import ROOT
from tests.workflow.conftest import Workflow, write_study

pytestmark = pytest.mark.slow

STAGES = ("cohort", "tiles", "features", "pathways", "splits", "train", "evaluate", "report")
WITNESS = re.compile(r"^witness prefix=(\S+) activated=(\S+) foreign=(.+)$", flags=re.MULTILINE)
Make = Callable[..., CondaInstallation]


@dataclass(frozen=True)
class CondaStudy:
    """A study that ran with --sdm conda, and what it made."""

    workflow: Workflow
    prefix: Path


def records(prefix: Path) -> dict[str, dict[str, str]]:
    """What an environment says of each package in it."""
    texts = [path.read_text(encoding="utf-8") for path in (prefix / "conda-meta").glob("*.json")]
    return {record["name"]: record for record in map(json.loads, texts)}


def on_path(installation: CondaInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(installation.root / "bin"), prepend=":")
    for name in ("CONDA_PREFIX", "CONDA_SHLVL", "CONDA_OVERRIDE_CUDA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def finished(conda: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CondaStudy]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        on_path(conda(installed_packages()), monkeypatch)
        workflow = write_study(tmp_path_factory.mktemp("study"))
        workflow.configure(cohort={"slides_per_job": 100})  # One job of each stage of slides is enough here.
        workflow.succeed("--sdm", "conda")
        (done,) = (workflow.folder / ".snakemake" / "conda").glob("*.env_setup_done")
        yield CondaStudy(workflow, prefix=done.with_suffix(""))


def test_every_rule_runs_in_its_environment_and_finds_all_there(finished: CondaStudy) -> None:
    for stage in STAGES:
        logs = sorted((finished.workflow.folder / "logs" / stage).rglob("*.log"))
        assert logs, stage
        for log in logs:
            said = WITNESS.findall(log.read_text(encoding="utf-8"))
            assert said, log
            assert set(said) == {(str(finished.prefix), str(finished.prefix), "[]")}, log
    assert "<html" in (finished.workflow.folder / "results" / "report" / "index.html").read_text(encoding="utf-8")


def test_the_environment_holds_what_environment_yml_names(finished: CondaStudy) -> None:
    found = records(finished.prefix)
    lines = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    for wanted in map(Requirement, lines):
        assert wanted.specifier.contains(found[wanted.name]["version"]), wanted.name
    assert "/bioconda/" in found["snakemake-minimal"]["url"]
    assert {name for name, record in found.items() if "/conda-forge/" not in record["url"]} == {"snakemake-minimal"}
    assert "pytest" not in found


def test_use_conda_is_the_same_and_a_second_run_makes_no_environment(finished: CondaStudy) -> None:
    text = finished.workflow.succeed("--use-conda", "--forcerun", "splits", "--until", "splits")
    assert "Creating conda environment" not in text
    assert "Activating conda environment" in text


def test_a_package_that_no_channel_has_stops_the_run_before_its_first_job(
    finished: CondaStudy, conda: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = [package for package in installed_packages() if package.name != "scikit-survival"]
    on_path(conda(packages), monkeypatch)
    made = shutil.ignore_patterns(".snakemake", "results", "logs", "benchmarks")
    shutil.copytree(finished.workflow.folder, tmp_path / "study", ignore=made)
    done = Workflow(tmp_path / "study").run("--sdm", "conda")
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Could not create conda environment" in text
    assert "scikit-survival" in text
    assert not (tmp_path / "study" / "results").exists()


def test_cuda_is_taken_where_a_driver_is_and_where_conda_is_told_of_one(
    conda: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two builds differ as conda-forge's do: the one for CUDA needs `__cuda` and has the higher build number."""
    packages = {package.name: package for package in installed_packages()}
    cpu = replace(packages["pytorch"], build="cpu_0", build_number=0)
    cuda = replace(cpu, depends=(*cpu.depends, "__cuda >=12.8"), build="cuda128_200", build_number=200)
    installation = conda([*(package for name, package in packages.items() if name != "pytorch"), cpu, cuda])
    on_path(installation, monkeypatch)
    for told, build in (("", "cpu_0"), ("12.8", "cuda128_200"), ("12.4", "cpu_0")):
        monkeypatch.setenv("CONDA_OVERRIDE_CUDA", told)
        installation.create_environment(tmp_path / f"cuda{told}")
        assert records(tmp_path / f"cuda{told}")["pytorch"]["build"] == build
