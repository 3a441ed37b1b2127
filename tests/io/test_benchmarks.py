"""Time and memory of jobs."""

from pathlib import Path

import numpy as np
import pytest

from tta_pipeline.errors import ArtifactError
from tta_pipeline.io.benchmarks import benchmarks_of, read_benchmarks, read_training_jobs


def test_benchmarks_are_summed_by_stage(tmp_path):
    paths = []
    for name, seconds, memory in (
        ("train/tta/r0", 10, "100"),
        ("train/tta/r1", 20.5, "300"),
        ("cohort/cohort", 1, "-"),
    ):
        paths.append(tmp_path / "benchmarks" / f"{name}.tsv")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t{memory}\n")
    table = read_benchmarks(paths)
    assert table.iloc[0].tolist() == ["train", 2, 30.5, 20.5, 300]
    assert table.iloc[1, :4].tolist() == ["cohort", 1, 1, 1]
    assert np.isnan(table.loc[1, "max_rss_mb"])
    assert read_benchmarks([]).empty


def test_benchmarks_that_are_none(tmp_path):
    with pytest.raises(ArtifactError, match="found nothing"):
        read_benchmarks([tmp_path / "absent.tsv"])
    (tmp_path / "other.tsv").write_text("a\tb\n")
    with pytest.raises(ArtifactError, match="columns s and max_rss"):
        read_benchmarks([tmp_path / "other.tsv"])


def test_jobs_of_the_train_stage_are_found_by_their_paths(tmp_path):
    paths = []
    for name in ("train/tta/r0_f1_s2", "train/late-fusion/r10_f0_s0", "evaluate/tta/r0_f1_s2", "cohort/cohort"):
        paths.append(tmp_path / "benchmarks" / f"{name}.tsv")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_text("s\th:m:s\tmax_rss\n10\t0:00:10\t100\n20\t0:00:20\t-\n")
    table = read_training_jobs(paths)
    assert table.to_numpy().tolist() == [["tta", 0, 1, 2, 15, 100], ["late-fusion", 10, 0, 0, 15, 100]]
    assert list(read_training_jobs([]).columns) == list(table.columns)


def test_benchmarks_of_models_and_batches_that_the_study_had_once_are_left_out():
    names = ["cohort/cohort", "train/tta/r0_f1_s2", "evaluate/tta/r0_f1_s2", "train/old/r0_f1_s2", "train/tta/r1_f1_s2"]
    names += ["tiles/b0001", "features/b0001", "features/b0002"]
    paths = [Path("benchmarks", f"{name}.tsv") for name in names]
    kept = benchmarks_of(paths, fits={("tta", 0, 1, 2)}, batches={"b0001"})
    assert kept == [paths[index] for index in (0, 1, 2, 5, 6)]


def test_benchmarks_of_fits_inside_of_training_parts_are_kept_where_a_model_reads_them():
    names = [
        "inner_train/snn/r0_f7_s2",
        "inner_train/old/r0_f7_s2",
        "inner_evaluate/snn/r0_f7_s1",
        "train/snn/r0_f1_s2",
    ]
    paths = [Path("benchmarks", f"{name}.tsv") for name in names]
    assert benchmarks_of(paths, fits=set(), batches=set(), inner={("snn", 0, 2)}) == paths[:1]
    assert benchmarks_of(paths, fits={("snn", 0, 7, 2), ("snn", 0, 1, 2)}, batches=set()) == paths[3:]
    assert read_training_jobs([paths[0]]).empty
