"""What the report reads beside artifacts, and what it says of where they came from."""

import numpy as np
import pytest

from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import hdf5
from tta_pipeline.io import report as files


def origin(kind="train", options="{}", **inputs):
    return hdf5.Origin(kind=kind, version="1", options=options, inputs=inputs)


def test_provenance_counts_what_artifacts_share():
    rows = files.provenance([origin(splits="aa"), origin(splits="aa"), origin(kind="evaluate", splits="bb")])
    assert {(row["what"], row["artifacts"], row["value"]) for row in rows} == {
        ("train: version", 2, "1"), ("train: options", 2, "{}"), ("train: splits", 2, "aa"),
        ("evaluate: version", 1, "1"), ("evaluate: options", 1, "{}"), ("evaluate: splits", 1, "bb"),
    }  # fmt: skip
    many = files.provenance([origin(kind="evaluate", trained=str(number)) for number in range(9)])
    assert {"what": "evaluate: trained", "artifacts": 9, "value": "9 different files"} in many


def test_artifacts_of_another_state_of_an_input(tmp_path):
    path = tmp_path / "splits.tsv"
    path.write_text("a")
    same, other = hdf5.fingerprint(path), "0"
    assert files.stale_inputs([origin(splits=same), origin(patients=other)], {"splits": path}) == []
    assert files.stale_inputs([origin(splits=other), origin(splits=same)], {"splits": path}) == [
        "1 artifacts of the train stage were made from another splits.tsv than this report: "
        "run snakemake --forcerun train."
    ]


def test_truth_may_hold_more_patients_and_columns(tmp_path):
    path = tmp_path / "truth.tsv"
    path.write_text("patient_id\trisk\tshared\n001\t0.5\t1\nB\t-1\t2\n")
    assert files.read_truth(path, patients=["001"]) == {"001": 0.5}
    with pytest.raises(InputError, match="found none for 1: C"):
        files.read_truth(path, patients=["B", "C"])


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
    table = files.read_benchmarks(paths)
    assert table.iloc[0].tolist() == ["train", 2, 30.5, 20.5, 300]
    assert table.iloc[1, :4].tolist() == ["cohort", 1, 1, 1]
    assert np.isnan(table.loc[1, "max_rss_mb"])
    assert files.read_benchmarks([]).empty


def test_benchmarks_that_are_none(tmp_path):
    with pytest.raises(ArtifactError, match="found nothing"):
        files.read_benchmarks([tmp_path / "absent.tsv"])
    (tmp_path / "other.tsv").write_text("a\tb\n")
    with pytest.raises(ArtifactError, match="columns s and max_rss"):
        files.read_benchmarks([tmp_path / "other.tsv"])


def test_an_interrupted_page_leaves_nothing(tmp_path):
    with pytest.raises(Exception, match="is undefined"):
        files.write_page(tmp_path / "index.html", {})
    assert list(tmp_path.iterdir()) == []
