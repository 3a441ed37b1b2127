"""The whole line, one stage again, and what a changed input plans."""

import gzip
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import Workflow
from tta_pipeline.io import artifacts
from tta_pipeline.io.hgnc import shipped_table

READING = {
    "tta": {"prototypes": 4},
    "mean": {"architecture": "mean-pool"},
    "sum": {"architecture": "risk-sum", "risks_of": ["tta", "mean"]},
}


def test_a_fresh_study_plans_jobs_from_the_root_snakefile(fresh: Callable[[], Workflow]) -> None:
    workflow = fresh()
    planned = workflow.planned()
    assert planned["cohort"] == 1
    assert planned["tiles"] == planned["features"] == 2
    assert set(workflow.planned("--until", "features")) == {"tiles", "features"}
    assert planned["train"] == planned["evaluate"] == 2
    assert planned["report"] == 1


def test_the_line_runs_from_slides_to_report_and_is_then_done(finished: Workflow) -> None:
    results = finished.folder / "results"
    slides = pd.read_csv(results / "cohort" / "batches.tsv", sep="\t", dtype=str)
    manifest = pd.concat(pd.read_csv(p, sep="\t") for p in sorted((results / "features" / "batches").glob("*.tsv")))
    assert set(manifest["slide_id"]) == set(slides["slide_id"])
    for file in manifest["file"].dropna():
        features = artifacts.read_features(finished.folder / file)
        assert len(features) == len(artifacts.read_tiles(results / "tiles" / Path(file).name).coords)
    tested = [artifacts.read_predictions(p).patient_id for p in sorted((results / "evaluate" / "tta").glob("*.h5"))]
    splits = pd.read_csv(results / "splits.tsv", sep="\t")
    expected = sorted(splits.loc[splits["role"] == "test", "patient_id"])
    assert sorted(name for names in tested for name in names) == expected
    assert "<html" in (results / "report" / "index.html").read_text(encoding="utf-8")
    assert not finished.planned()


def test_a_change_of_train_plans_no_slide(study: Workflow) -> None:
    study.configure(train={"epochs": 2})
    planned = study.planned()
    assert planned["train"] == planned["evaluate"] == 2
    assert not {"cohort", "tiles", "features", "pathways", "splits"} & set(planned)


def test_a_changed_resolution_in_the_sheet_plans_the_batch_of_its_slide(study: Workflow) -> None:
    sheet = study.folder / "input" / "slides.tsv"
    table = pd.read_csv(sheet, sep="\t", dtype=str)
    table.loc[0, "mpp"] = "0.51"
    table.to_csv(sheet, sep="\t", index=False)
    planned = study.planned()
    assert planned["cohort"] == planned["tiles"] == planned["features"] == 1
    study.configure(tiles={"min_tissue": 0.4})
    assert study.planned()["tiles"] == 2


def test_a_table_of_gene_names_is_an_input_where_a_file_is_named(study: Workflow) -> None:
    (study.folder / "hgnc").write_text("newer than the results, and no input")
    assert not study.planned()
    (study.folder / "names.txt").write_bytes(shipped_table().read_bytes())
    study.configure(inputs={"gene_names": "names.txt"})
    text = study.succeed("--dry-run", "--until", "pathways", "--quiet", "host")
    assert set(study.planned("--until", "pathways")) == {"cohort", "pathways"}
    assert len(re.findall(r"^    input: .*names\.txt", text, flags=re.MULTILINE)) == 2


def test_a_model_that_reads_risks_plans_trainings_inside_of_the_training_parts(study: Workflow) -> None:
    """And where none does, the number of these parts changes nothing."""
    study.configure(splits={"inner_folds": 3})
    assert set(study.planned()) <= {"all", "default"}
    study.configure(models=READING)
    planned = study.planned()
    assert planned["splits"] == 1
    assert planned["inner_train"] == planned["inner_evaluate"] == 2 * 2 * 3  # models, folds, parts
    study.configure(report={"without": ["sum"]})
    assert set(study.planned()) & {"inner_train", "inner_evaluate"} == set()


@pytest.mark.slow
def test_a_model_that_reads_risks_runs_through_the_line(study: Workflow) -> None:
    study.configure(models=READING, splits={"inner_folds": 2}, report={"without": ["mean"]})
    study.succeed()
    results = study.folder / "results"
    metrics = pd.read_csv(results / "report" / "metrics.tsv", sep="\t")
    assert set(metrics["model"]) == {"tta", "sum"}
    modalities = pd.read_csv(results / "report" / "modalities.tsv", sep="\t")
    assert set(modalities.loc[modalities["model"] == "sum", "modality"]) == {"tta", "mean"}
    assert not study.planned()
    study.configure(train={"seeds": [0, 1]})
    assert study.planned()["inner_train"] == 8


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"features": {"precision": "bf16"}}, "features"),
        ({"tiles": {"min_tissue": 0.4}}, "tiles"),
        ({"pathways": {"min_genes": 2}}, "pathways"),
        ({"splits": {"seed": 1}}, "splits"),
        ({"evaluate": {"max_patches": 7}}, "evaluate"),
        ({"report": {"seed": 1}}, "report"),
    ],
)
def test_a_changed_section_plans_its_stage_and_what_follows(
    study: Workflow, change: dict[str, dict[str, object]], first: str
) -> None:
    follows = {
        "tiles": {"tiles", "features", "train", "evaluate", "report"},
        "features": {"features", "train", "evaluate", "report"},
        "pathways": {"pathways", "train", "evaluate", "report"},
        "splits": {"splits", "train", "evaluate", "report"},
        "evaluate": {"evaluate", "report"},
        "report": {"report"},
    }[first]
    study.configure(**change)
    assert set(study.planned()) - {"all", "default"} == follows


@pytest.mark.slow
def test_new_features_are_seen_by_a_later_run(study: Workflow) -> None:
    study.configure(tiles={"min_tissue": 0.3}, features={"precision": "bf16"})
    study.succeed("--until", "features")
    planned = study.planned()
    assert planned["train"] == planned["evaluate"] == 2
    assert not {"tiles", "features"} & set(planned)


def test_another_limit_of_bad_slides_computes_no_slide_again(study: Workflow) -> None:
    study.configure(bad_slides={"limit": 2})
    assert not {"tiles", "features"} & set(study.planned())


def test_more_threads_and_larger_batches_compute_no_slide_again(study: Workflow) -> None:
    study.configure(features={"batch_size": 3, "decode_threads": 1})
    assert set(study.planned()) <= {"all", "default"}
    log = study.folder / "logs" / "features" / "b0002.log"
    log.unlink()
    study.succeed("--forcerun", "features", "--until", "features", "--", "results/features/batches/b0002.tsv")
    assert "tiles/s" in log.read_text(encoding="utf-8")


def test_a_slide_that_has_gone_is_named_with_its_row(study: Workflow) -> None:
    """As a slide that cannot be used, where its batch has to run again: the others are worked on."""
    sheet = pd.read_csv(study.folder / "input" / "slides.tsv", sep="\t", dtype=str)
    slide = study.folder / "input" / sheet.loc[0, "path"]
    slide.rename(slide.with_suffix(".moved"))
    study.configure(tiles={"min_tissue": 0.45}, bad_slides={"policy": "fail", "limit": 0})
    assert study.planned()["tiles"] == 2
    done = study.run("--until", "tiles")
    assert done.returncode != 0
    found = f"{sheet.loc[0, 'slide_id']}: expected a slide at input/{sheet.loc[0, 'path']}, found nothing"
    assert found in done.stdout + done.stderr
    done_others = {path.stem for path in (study.folder / "results" / "tiles").glob("*.h5")}
    assert set(sheet["slide_id"][1:8]) & done_others


def test_a_sheet_of_slides_that_cannot_be_read_is_named(study: Workflow) -> None:
    """By the cohort stage: Snakemake, which reads it too, does not stop with words of its own."""
    sheet = study.folder / "input" / "slides.tsv"
    sheet.write_bytes(gzip.compress(sheet.read_bytes())[:-9])
    done = study.run("--until", "cohort")
    assert done.returncode != 0
    assert "slides.tsv: expected a whole gzip file, found damage" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_weights_that_are_not_there_are_named(study: Workflow) -> None:
    study.configure(features={"weights": "input/none.safetensors"})
    assert study.planned()["features"] >= 1
    assert "none.safetensors: expected weights (features.weights), found nothing" in (
        (done := study.run("--until", "features")).stdout + done.stderr
    )


def test_an_empty_section_takes_its_defaults(study: Workflow) -> None:
    study.configure(pathways=None)
    study.succeed("--dry-run")


def test_another_seed_trains_only_that_seed(study: Workflow) -> None:
    study.configure(train={"seeds": [0, 1]})
    planned = study.planned()
    assert planned["train"] == planned["evaluate"] == 2
    assert not {"tiles", "features"} & set(planned)


def test_one_stage_runs_again_alone(study: Workflow) -> None:
    planned = study.planned("--until", "features", "--forcerun", "features")
    batches = len(list((study.folder / "results" / "features" / "batches").glob("*.tsv")))
    assert planned == {"features": batches}


@pytest.mark.slow
def test_forcing_features_computes_them_again(study: Workflow) -> None:
    files = sorted((study.folder / "results" / "features").glob("*.h5"))
    before = {file: file.stat().st_mtime_ns for file in files}
    study.succeed("--until", "features", "--forcerun", "features")
    assert all(file.stat().st_mtime_ns > before[file] for file in files)


def test_one_new_slide_plans_one_job_of_each_slide_stage(study: Workflow) -> None:
    sheet = study.folder / "input" / "slides.tsv"
    table = pd.read_csv(sheet, sep="\t", dtype=str)
    new = table.head(1).assign(slide_id="one-more", path="one more.svs")
    shutil.copy(study.folder / "input" / table["path"][0], study.folder / "input" / "one more.svs")
    pd.concat([table, new]).to_csv(sheet, sep="\t", index=False)
    assert study.planned("--until", "features") == {"tiles": 1, "features": 1}
    before = {file: file.stat().st_mtime_ns for file in (study.folder / "results" / "features").glob("*.h5")}
    study.succeed("--until", "features")
    assert all(file.stat().st_mtime_ns == time_ns for file, time_ns in before.items())
    assert (study.folder / "results" / "features" / "one-more.h5").is_file()
    assert not {"tiles", "features"} & set(study.planned())


def test_a_study_of_which_only_tiles_have_run_plans_one_job_for_a_new_slide(study: Workflow) -> None:
    """Also where its row comes first, and where cohort has failed or was never asked for."""
    shutil.rmtree(study.folder / "results" / "cohort")
    study.succeed("--until", "tiles", "--forcerun", "tiles", "--touch")
    (study.folder / "input" / "clinical.tsv").write_text("no clinical table\n", encoding="utf-8")
    assert "clinical.tsv: expected" in study.run("--until", "cohort").stderr
    sheet = study.folder / "input" / "slides.tsv"
    table = pd.read_csv(sheet, sep="\t", dtype=str)
    new = table.head(1).assign(slide_id="a-first-one", path="one more.svs")
    shutil.copy(study.folder / "input" / table["path"][0], study.folder / "input" / "one more.svs")
    pd.concat([new, table]).to_csv(sheet, sep="\t", index=False)
    assert study.planned("--until", "features") == {"tiles": 1, "features": 1}


def test_touching_the_sheet_without_a_change_computes_no_slide(study: Workflow) -> None:
    (study.folder / "input" / "slides.tsv").touch()
    assert not {"tiles", "features", "train"} & set(study.planned())


def test_a_killed_run_keeps_its_finished_slides(study: Workflow) -> None:
    features = study.folder / "results" / "features"
    shutil.rmtree(features)  # as after tiles
    again = ("--until", "features", "--forcerun", "features")
    process = subprocess.Popen(
        study.command(*again),
        env=study.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120

    def finished() -> list[str]:
        """Slides in the journals: a file that was written in the very moment of the kill may not stand there yet."""
        lines = (line for path in features.rglob("*.partial") for line in path.read_text(encoding="utf-8").splitlines())
        return re.findall(r'"slide_id": "([^"]+)", "file"', "\n".join(lines))

    while not finished() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {file: file.stat().st_mtime_ns for file in (features / f"{name}.h5" for name in finished())}
    assert kept
    for file in features.glob("*.h5"):  # never half a file under its final name
        artifacts.read_features(file)
    study.succeed("--unlock")
    study.succeed(*again)
    assert all(file.stat().st_mtime_ns == time_ns for file, time_ns in kept.items())
    assert not list(features.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train": {"epoch": 2}},
            r"config: train: Additional properties are not allowed \('epoch' was unexpected\)",
        ),
        (
            {"models": {"tta": {}, "cox": {"architecture": "clinical-cox"}}},
            r"config: models\.cox\.architecture: 'clinical-cox' should not be valid under .*"
            r"reads clinical covariates: name columns of the clinical table in inputs\.covariates",
        ),
        ({"models": {"empty": None}}, r"config: models\.empty: expected a mapping of options, found nothing"),
        ({"report": {"without": ["tat"]}}, r"config: report\.without: expected some of the models tta, found tat"),
        (
            {"models": {"tta": {}, "sum": {"architecture": "risk-sum", "risks_of": ["tta", "sum"]}}},
            r"config: models\.sum\.risks_of: expected some of the models without risks_of \(tta\), found sum",
        ),
    ],
)
def test_a_config_that_does_not_fit_stops_before_any_job(
    study: Workflow, change: dict[str, dict[str, object]], message: str
) -> None:
    study.configure(**change)
    done = study.run("--dry-run")
    assert done.returncode != 0
    assert re.search(message, done.stdout + done.stderr)


def test_a_slide_that_is_none_stops_the_run_and_is_named(fresh: Callable[[], Workflow]) -> None:
    workflow = fresh()
    sheet = pd.read_csv(workflow.folder / "input" / "slides.tsv", sep="\t", dtype=str)
    (workflow.folder / "input" / sheet["path"][0]).write_bytes(b"not a slide")
    workflow.configure(bad_slides={"policy": "fail", "limit": 0})
    done = workflow.run("--until", "tiles")
    assert done.returncode != 0
    assert f"{sheet['slide_id'][0]}: expected a slide that OpenSlide reads, found " in done.stdout + done.stderr


def test_lint_is_clean(finished: Workflow) -> None:
    finished.succeed("--lint")


def test_snakemake_packs_its_report(finished: Workflow, tmp_path: Path) -> None:
    finished.succeed("--report", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as packed:
        assert {Path(name).name for name in packed.namelist()} >= {"report.html", "index.html", "metrics.tsv"}


def test_the_slurm_profile_plans(finished: Workflow) -> None:
    pytest.importorskip("snakemake_executor_plugin_slurm")
    finished.succeed("--workflow-profile", "workflow/profiles/slurm", "--dry-run")


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_jobs_run_the_package_of_their_checkout(study: Workflow, tmp_path: Path, snakefile: str) -> None:
    checkout = tmp_path / "another checkout"
    for name in ("Snakefile", "workflow", "tta_pipeline", "environment.yml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        checkout.mkdir(exist_ok=True)
        copy(ROOT / name, checkout / name)
    (checkout / "tta_pipeline" / "stages" / "splits.py").write_text("raise ImportError('the copy ran')")
    arguments = ["--snakefile", str(checkout / snakefile), "--until", "splits", "--forcerun", "splits"]
    done = study.run(*arguments)
    assert "the copy ran" in done.stdout + done.stderr + (study.folder / "logs" / "splits" / "splits.log").read_text()
