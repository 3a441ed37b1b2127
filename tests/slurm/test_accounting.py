"""The profile for sites with accounting: what sacct says is understood, and what sbatch refuses is said."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import run
from tests.slurm.conftest import SlurmWorkflow, running
from tests.workflow.conftest import write_study

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def workflow(slurm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmWorkflow]:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    with running(accounting=True):
        yield SlurmWorkflow(folder, slurm_python, "slurm")


def test_a_refused_submission_is_said_and_computes_nothing(workflow: SlurmWorkflow) -> None:
    done = workflow.run("--until", "cohort", "--set-resources", "cohort:constraint=nowhere")
    assert done.returncode != 0
    assert "Invalid feature specification" in done.stdout + done.stderr
    assert not (workflow.folder / "results" / "cohort" / "patients.tsv").exists()


def test_a_job_killed_for_memory_runs_again_with_more(workflow: SlurmWorkflow) -> None:
    workflow.succeed("--until", "cohort", "--set-resources", "cohort:mem_mb=20 if attempt == 1 else 4000")
    rows = run("sacct", "--allocations", "--noheader", "--parsable2", "--format=State,ReqMem").splitlines()
    first, second = (row.split("|") for row in rows)
    assert first[0] != "COMPLETED"
    assert first[1] == "20M"
    assert second == ["COMPLETED", "4000M"]
