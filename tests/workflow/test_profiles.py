"""What the profiles say, without the schedulers that they are for."""

import re

import pytest
import yaml

from tests.conftest import ROOT

PROFILES = ROOT / "workflow" / "profiles"
INHERITED = {"inner_train": "train", "inner_evaluate": "evaluate"}  # rules that ask for what another one does
RULES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "workflow" / "rules").glob("*.smk")}


def profile(name: str) -> dict[str, object]:
    content: dict[str, object] = yaml.safe_load((PROFILES / name / "config.yaml").read_text(encoding="utf-8"))
    return content


def resources_of(rule: str) -> tuple[str, str, str]:
    """Threads, memory and time as the rule has them."""
    patterns = (r"threads: (\d+)", r"mem_mb=attempts\((\d+)\)", r"runtime=attempts\((\d+)\)")
    threads, memory, minutes = (re.findall(pattern, RULES[rule])[0] for pattern in patterns)
    return threads, memory, minutes


def test_sites_without_accounting_differ_in_how_jobs_are_watched_alone() -> None:
    with_accounting, without = profile("slurm"), profile("slurm-no-accounting")
    assert without.pop("slurm-status-command") == "squeue"
    assert with_accounting.pop("slurm-no-requeue") is True
    assert without == with_accounting


@pytest.mark.parametrize("name", sorted(path.name for path in PROFILES.iterdir()))
def test_profiles_name_rules_that_exist(name: str) -> None:
    content = profile(name)
    named = {rule for key in ("set-resources", "set-threads") for rule in content.get(key, {})}
    assert named
    assert named <= set(RULES) | set(INHERITED)


@pytest.mark.parametrize("name", sorted(path.name for path in PROFILES.iterdir()))
def test_what_runs_again_is_the_same_in_every_profile(name: str) -> None:
    """As docs/reruns.md says it."""
    content = profile(name)
    assert content["rerun-triggers"] == ["mtime", "params", "input"]
    assert content["max-checksum-file-size"] == "50MB"


@pytest.mark.parametrize("name", ["slurm", "slurm-no-accounting", "lsf", "pbs", "sge"])
def test_profiles_of_clusters_ask_for_a_gpu_and_try_again(name: str) -> None:
    content = profile(name)
    assert content["restart-times"] == 2
    gpus = {rule: asked["gpu"] for rule, asked in content["set-resources"].items()}
    assert gpus == {"features": 1, "train": 1, "inner_train": 1}


@pytest.mark.parametrize("name", sorted(path.name for path in PROFILES.iterdir()))
@pytest.mark.parametrize(("inner", "rule"), INHERITED.items())
def test_trainings_inside_of_training_parts_get_what_trainings_get(name: str, inner: str, rule: str) -> None:
    for key in ("set-resources", "set-threads"):
        asked = profile(name).get(key, {})
        assert asked.get(inner) == asked.get(rule)
    assert f"use rule {rule} as {inner} with:" in RULES[rule]


def test_the_page_on_clusters_names_what_the_rules_ask_for() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    threads = profile("slurm")["set-threads"]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \|", page, flags=re.MULTILINE)
    stages = {name for name, text in RULES.items() if "attempts(" in text and name != "common"}
    assert {row[0] for row in rows} == stages
    for rule, cores, memory, minutes in rows:
        default, mem_mb, runtime = resources_of(rule)
        assert (cores, memory, minutes) == (str(threads.get(rule, default)), mem_mb, runtime)
