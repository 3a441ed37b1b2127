"""The recipes of containers, as far as they can be judged without building one."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

DOCKER = (ROOT / "containers" / "Dockerfile").read_text(encoding="utf-8")
APPTAINER = (ROOT / "containers" / "apptainer.def").read_text(encoding="utf-8")


def docker_copies() -> set[str]:
    lines = re.findall(r"^COPY (.+) \S+$", DOCKER, flags=re.MULTILINE)
    return {name for line in lines for name in line.split()}


def test_both_recipes_copy_the_same_files_which_exist() -> None:
    copied = set(re.findall(r"^    (\S+) /opt/tta-pipeline/$", APPTAINER, flags=re.MULTILINE))
    assert copied == docker_copies()
    assert [name for name in copied if not (ROOT / name).exists()] == []
    installed, run = (
        {"pyproject.toml", "requirements.lock", "constraints.txt"},
        {"Snakefile", "workflow", "tta_pipeline"},
    )
    assert installed | run | {"environment.yml"} <= copied  # Snakemake notes its content for each job


def test_both_recipes_start_from_one_image_of_a_supported_python() -> None:
    (docker,) = re.findall(r"^FROM (\S+)$", DOCKER, flags=re.MULTILINE)
    (apptainer,) = re.findall(r"^From: (\S+)$", APPTAINER, flags=re.MULTILINE)
    assert docker == apptainer
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", docker)


def test_the_container_of_docker_does_not_run_as_root() -> None:
    last = re.findall(r"^(USER|RUN|ENTRYPOINT) .*$", DOCKER, flags=re.MULTILINE)
    assert last[-2:] == ["USER", "ENTRYPOINT"]


def test_the_container_of_docker_runs_as_a_user_whom_it_does_not_know() -> None:
    lines = re.findall(r"^ENV (.+)$", DOCKER, flags=re.MULTILINE)
    environment = dict(setting.split("=") for line in lines for setting in line.split())
    program = "import getpass, pathlib, pwd; del pwd.getpwuid; print(getpass.getuser(), pathlib.Path.home())"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("tta /tmp\n", "")


@pytest.mark.parametrize("build", ["gpu", ""])
def test_an_unknown_build_of_torch_is_an_error_before_anything_is_installed(build: str) -> None:
    command = ["sh", str(ROOT / "containers" / "install.sh"), build]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"expected cpu or cuda, found '{build}'" in done.stderr
