"""A study on two nodes without accounting: interrupted, taken up again, one stage given too little memory at first."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, run
from tests.slurm.conftest import SlurmWorkflow, running
from tests.workflow.conftest import write_study

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@dataclass(frozen=True)
class Interrupted:
    """A run that its user ended while slides were encoded."""

    workflow: SlurmWorkflow
    kept: dict[Path, int]  # finished slides, and the times of their files
    output: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running(accounting=False) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def interrupted(slurm_python: Path, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder).configure(cohort={"slides_per_job": 8})
    workflow = SlurmWorkflow(folder, slurm_python, "slurm-no-accounting")
    output = folder / "first.log"
    with output.open("w") as log:
        heard = ["env", "--default-signal=INT"]  # what runs in the background may be told to ignore it
        process = subprocess.Popen([*heard, *workflow.command()], env=workflow.environment(), stdout=log, stderr=log)
    features = folder / "results" / "features"
    deadline = time.monotonic() + 180
    while not list(features.rglob("*.h5")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)
    kept = {file: file.stat().st_mtime_ns for file in features.glob("*.h5")}
    return Interrupted(workflow, kept, output.read_text())


@pytest.fixture(scope="module")
def completed(interrupted: Interrupted) -> str:
    """What the second run said. A training gets 50 MB at its first attempt, with which Python alone does not start."""
    return interrupted.workflow.succeed("--set-resources", "train:mem_mb=50 if attempt == 1 else 16000")


def accounts(cluster: Cluster, rule: str) -> list[tuple[str, str, str]]:
    """State, memory and node of every job of a rule."""
    lines = run("squeue", "--noheader", "--states=all", "--format=%T|%m|%N|%k").splitlines()
    rows = [line.split("|") for line in lines]
    return [(state, memory, node) for state, memory, node, comment in rows if comment.startswith(f"rule_{rule}")]


def test_an_interrupt_leaves_no_job_behind(interrupted: Interrupted, cluster: Cluster) -> None:
    assert interrupted.kept, interrupted.output
    assert not (interrupted.workflow.folder / "results" / "report" / "index.html").exists()
    assert not [job for node in ("n1", "n2") for job in cluster.jobs(node)]


def test_a_study_is_completed_on_two_nodes(interrupted: Interrupted, completed: str, cluster: Cluster) -> None:
    report = interrupted.workflow.folder / "results" / "report" / "index.html"
    assert "<html" in report.read_text(encoding="utf-8")
    assert {node for _, _, node in accounts(cluster, "features")} == {"n1", "n2"}
    assert not interrupted.workflow.planned()


def test_no_finished_slide_is_computed_again(interrupted: Interrupted, completed: str) -> None:
    assert {file: file.stat().st_mtime_ns for file in interrupted.kept} == interrupted.kept


def test_a_job_killed_for_memory_runs_again_with_more(completed: str, cluster: Cluster) -> None:
    jobs = accounts(cluster, "train")
    assert sorted(memory for state, memory, _ in jobs if state == "COMPLETED") == ["16000M", "16000M"]
    assert sorted(memory for state, memory, _ in jobs if state != "COMPLETED") == ["50M", "50M"]
    assert len(re.findall(r"Trying to restart job \d+\.", completed)) == 2


def test_the_log_of_a_killed_job_says_why(interrupted: Interrupted, completed: str) -> None:
    logs = list((interrupted.workflow.folder / "logs" / "slurm" / "rule_train").rglob("*.log"))
    assert len(logs) == 2
    assert all("exceeded memory limit" in log.read_text() or "Exceeded job memory" in log.read_text() for log in logs)
