"""The profile for sites with accounting: what sacct says is understood, and what sbatch refuses is said."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, run, wait_for
from tests.slurm.conftest import SlurmWorkflow, running
from tests.workflow.conftest import write_study

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running(accounting=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def workflow(slurm_python: Path, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> SlurmWorkflow:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return SlurmWorkflow(folder, slurm_python, "slurm")


def accounts() -> list[list[str]]:
    """State, memory and node of every job so far."""
    rows = run("sacct", "--allocations", "--noheader", "--parsable2", "--format=State,ReqMem,NodeList").splitlines()
    return [row.split("|") for row in rows]


def test_a_refused_submission_is_said_and_computes_nothing(workflow: SlurmWorkflow) -> None:
    done = workflow.run("--until", "cohort", "--set-resources", "cohort:constraint=nowhere")
    assert done.returncode != 0
    assert "Invalid feature specification" in done.stdout + done.stderr
    assert not (workflow.folder / "results" / "cohort" / "patients.tsv").exists()


def test_a_job_killed_for_memory_runs_again_with_more(workflow: SlurmWorkflow) -> None:
    workflow.succeed("--until", "cohort", "--set-resources", "cohort:mem_mb=20 if attempt == 1 else 4000")
    first, second = accounts()
    assert first[0] != "COMPLETED"
    assert first[1] == "20M"
    assert second[:2] == ["COMPLETED", "4000M"]


def test_a_job_goes_on_elsewhere_when_its_node_dies(workflow: SlurmWorkflow, cluster: Cluster) -> None:
    output = workflow.folder / "splits.log"
    with output.open("w") as log:
        command = workflow.command("--until", "splits")
        process = subprocess.Popen(command, env=workflow.environment(), stdout=log, stderr=log)
    wait_for(lambda: bool(cluster.jobs("n1")), what="a job on n1")
    cluster.kill_node("n1")
    try:
        assert process.wait(timeout=120) == 0, output.read_text()
    finally:
        cluster.start_node("n1")
    assert accounts()[-1][::2] == ["COMPLETED", "n2"]
