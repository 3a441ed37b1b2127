"""requirements.lock: exact versions of everything but torch, for the Pythons and platforms that are supported."""

import itertools
import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
LOCKED_EXTRAS = ("parquet", "slurm", "stain")
LEFT_TO_THE_USER = {"torch", "torchvision"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXT = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def environments() -> Iterator[dict[str, str]]:
    for python, (platform, machine) in itertools.product(PYTHONS, PLATFORMS):
        yield {
            "python_version": python,
            "python_full_version": f"{python}.0",
            "sys_platform": platform,
            "platform_machine": machine,
        }


def locked(environment: dict[str, str]) -> dict[str, str]:
    """Versions by name that pip takes from the lock in an environment."""
    lines = re.findall(r"^([a-z0-9][^\\#\n]*)", TEXT, flags=re.MULTILINE)
    wanted = [item for item in map(Requirement, lines) if item.marker is None or item.marker.evaluate(environment)]
    versions = {item.name: str(item.specifier) for item in wanted}
    assert len(versions) == len(wanted), "a package is locked twice for one environment"
    return {name: version.removeprefix("==") for name, version in versions.items()}


@pytest.mark.parametrize("environment", list(environments()), ids=lambda item: "-".join(item.values()))
def test_the_lock_satisfies_what_the_project_asks_for(environment: dict[str, str]) -> None:
    project = PROJECT["project"]
    assert SpecifierSet(project["requires-python"]).contains(environment["python_full_version"])
    lines = [
        *project["dependencies"],
        *(line for name in LOCKED_EXTRAS for line in project["optional-dependencies"][name]),
    ]
    versions = locked(environment)
    for wanted in map(Requirement, lines):
        name = canonicalize_name(wanted.name)
        if name not in LEFT_TO_THE_USER:
            assert wanted.specifier.contains(versions[name]), wanted


def test_torch_and_what_its_cuda_build_needs_are_left_to_the_user() -> None:
    names = {name for environment in environments() for name in locked(environment)}
    assert not names & LEFT_TO_THE_USER
    assert not [name for name in names if name.startswith(("nvidia-", "cuda-")) or name == "triton"]
    # What torch needs on every platform is locked.
    assert {"filelock", "fsspec", "jinja2", "networkx", "sympy", "typing-extensions"} <= names


def test_every_locked_file_has_its_hash_and_no_address_stands_in_the_lock() -> None:
    entries = re.split(r"^(?=[a-z0-9])", TEXT, flags=re.MULTILINE)[1:]
    assert len(entries) > 100
    for entry in entries:
        assert re.search(r"^    --hash=sha256:[0-9a-f]{64}", entry, flags=re.MULTILINE), entry[:60]
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host| @ |(^|\s)/", TEXT)


def test_the_pythons_of_the_lock_are_the_classifiers() -> None:
    named = [line.rsplit(" ", 1)[1] for line in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert tuple(named) == PYTHONS
