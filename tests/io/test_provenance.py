"""What artifacts share, and inputs that have changed."""

from tta_pipeline.io import hdf5, provenance


def origin(kind="train", options="{}", **inputs):
    return hdf5.Origin(kind=kind, version="1", options=options, inputs=inputs)


def test_provenance_counts_what_artifacts_share():
    rows = provenance.provenance([origin(splits="aa"), origin(splits="aa"), origin(kind="evaluate", splits="bb")])
    assert {(row["what"], row["artifacts"], row["value"]) for row in rows} == {
        ("train: version", 2, "1"), ("train: options", 2, "{}"), ("train: splits", 2, "aa"),
        ("evaluate: version", 1, "1"), ("evaluate: options", 1, "{}"), ("evaluate: splits", 1, "bb"),
    }  # fmt: skip
    many = provenance.provenance([origin(kind="evaluate", trained=str(number)) for number in range(9)])
    assert {"what": "evaluate: trained", "artifacts": 9, "value": "9 different files"} in many


def test_artifacts_of_another_state_of_an_input(tmp_path):
    path = tmp_path / "splits.tsv"
    path.write_text("a")
    same, other = hdf5.fingerprint(path), "0"
    assert provenance.stale_inputs([origin(splits=same), origin(patients=other)], {"splits": path}) == []
    assert provenance.stale_inputs([origin(splits=other), origin(splits=same)], {"splits": path}) == [
        "1 artifacts of the train stage were made from another splits.tsv than this report: "
        "run snakemake --forcerun train."
    ]
