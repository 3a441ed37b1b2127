"""Who left when: the counts add up, whatever left."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.numerics.test_metrics import fold
from tta_pipeline.errors import InputError
from tta_pipeline.numerics.flow import (
    attrition_steps,
    bad_slides,
    check_tested,
    describe_parts,
    events_per_fold,
    unused_samples,
)

REASONS = [f"reason {number}" for number in range(12)]


def steps(*, out=(), excluded=("", ""), later=None, slides_out=(), split=None):
    slides = [f"s{index}" for index in range(len(excluded))]
    owners = [f"p{index // 2}" for index in range(len(excluded))]
    gone = [("patient", reason) for reason in out] + [("slide", reason) for reason in slides_out]
    return attrition_steps(
        pd.DataFrame(
            [(kind, f"x{i}", f"x{i}", "cohort", why) for i, (kind, why) in enumerate(gone)],
            columns=["kind", "id", "patient_id", "stage", "reason"],
        ),
        patients=pd.DataFrame({"patient_id": list(dict.fromkeys(owners))}),
        features=pd.DataFrame({"slide_id": slides, "patient_id": owners, "excluded": list(excluded)}, dtype="string"),
        left_later=later or {},
        split=split,
    )


@settings(deadline=None)
@given(
    out=st.lists(st.sampled_from(REASONS)),
    slides_out=st.lists(st.sampled_from(REASONS)),
    excluded=st.lists(st.sampled_from(["", "", "no tissue", "unreadable"]), min_size=1, max_size=12),
    late=st.sets(st.integers(0, 11)),
)
def test_candidates_less_those_who_left_are_those_who_remain(out, slides_out, excluded, late):
    table = steps(out=out, slides_out=slides_out, excluded=excluded, later={f"s{index}": "NaN" for index in late})
    usable = [index for index, why in enumerate(excluded) if not why and index not in late]
    stays = {"patient": len({index // 2 for index in usable}), "slide": len(usable)}
    for kind, own in table.groupby("kind"):
        assert own["left"].iloc[0] == 0
        np.testing.assert_array_equal(own["remaining"].iloc[0] - own["left"].cumsum(), own["remaining"])
        assert own["remaining"].iloc[-1] == stays[kind]
        assert len(own) <= 1 + 9 + 3
    assert table.loc[table["kind"] == "patient", "remaining"].iloc[0] == -(-len(excluded) // 2) + len(out)


def test_frequent_reasons_come_first_and_rare_ones_are_joined():
    table = steps(out=[*REASONS, "reason 11", "reason 11"])
    own = table[table["kind"] == "patient"]
    assert own["reason"].iloc[1] == "reason 11"
    assert own["reason"].iloc[-1] == "4 other reasons"
    assert own["left"].iloc[-1] == 4


def test_slides_that_left_at_features_and_at_train_are_named_by_their_stage():
    table = steps(excluded=["no tissue", "", "", ""], later={"s1": "NaN in 2 rows"})
    late = table[table["left"] > 0][["kind", "stage", "reason", "left"]].to_numpy().tolist()
    assert late == [
        ["patient", "features", "no usable slide", 1],
        ["slide", "features", "no tissue", 1],
        ["slide", "train, evaluate", "NaN in 2 rows", 1],
    ]


def test_patients_in_no_part_of_the_splits_leave_there():
    table = steps(excluded=["no tissue", "", "", "", "unreadable", "unreadable"], split={"p1", "p2", "p9"})
    own = table[(table["kind"] == "patient") & (table["left"] > 0)]
    assert own[["stage", "left", "remaining"]].to_numpy().tolist() == [["features", 1, 2], ["splits", 1, 1]]


def test_events_per_fold():
    splits = pd.DataFrame(
        [
            (0, 0, "a", "train", True, "S1"),
            (0, 0, "b", "train", False, "S2"),
            (0, 0, "c", "test", True, "S1"),
            (0, 1, "a", "test", True, "S1"),
            (0, 1, "b", "validation", False, ""),
        ],
        columns=["repeat", "fold", "patient_id", "role", "event", "site"],
    )
    table = events_per_fold(describe_parts(splits))
    assert table.loc[0].to_dict() == {
        "repeat": 0, "fold": 0, "n_train": 2, "n_train_events": 1,
        "n_validation": 0, "n_validation_events": 0, "n_test": 1, "n_test_events": 1,
        "n_test_sites": 1, "n_shared_sites": 1, "n_unknown_sites": 0,
    }  # fmt: skip
    assert table.loc[1, ["n_test_events", "n_validation", "n_validation_events"]].tolist() == [1, 1, 0]
    assert table.loc[1, ["n_test_sites", "n_shared_sites"]].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("sites", "shared", "unknown"), [("AAA", 1, 0), ("A A", 1, 1), (" AA", 1, 1), ("AB ", 0, 1), ("   ", 0, 3)]
)
def test_patients_of_unknown_site_are_counted_beside_the_shared_sites(sites, shared, unknown):
    roles = ["train", "train", "test"]
    splits = pd.DataFrame({"repeat": 0, "fold": 0, "patient_id": list("abc"), "role": roles, "event": True})
    splits["site"] = [site.strip() for site in sites]
    row = events_per_fold(describe_parts(splits)).loc[0]
    assert (row["n_shared_sites"], row["n_unknown_sites"]) == (shared, unknown)


def test_unused_samples_are_counted_by_reason():
    attrition = pd.DataFrame(
        [
            ("sample", "TCGA-A-1-11A", "TCGA-A-1", "cohort", "sample type 11 (solid tissue normal)"),
            ("sample", "TCGA-A-1-01A-1", "TCGA-A-1", "cohort", "TCGA-A-1-01A-2 of the patient is used"),
            ("sample", "TCGA-A-2-01A-1", "TCGA-A-2", "cohort", "TCGA-A-2-01A-2 of the patient is used"),
            ("patient", "TCGA-A-3", "TCGA-A-3", "cohort", "no slide"),
        ],
        columns=["kind", "id", "patient_id", "stage", "reason"],
    )
    assert unused_samples(attrition).to_numpy().tolist() == [
        ["another sample of the patient is used", 2, 2, "TCGA-A-1-01A-1"],
        ["sample type 11 (solid tissue normal)", 1, 1, "TCGA-A-1-11A"],
    ]
    assert unused_samples(attrition[:0]).empty


def test_a_risk_of_a_training_patient_is_an_error():
    part = fold(n=3)
    names = list(part.patient_id)
    good = pd.DataFrame({"repeat": 0, "fold": 0, "patient_id": names, "role": "test"})
    check_tested({"tta": [part]}, splits=good)
    leaked = good.assign(role=["test", "train", "test"])
    with pytest.raises(InputError, match=r"3 patients with a risk of tta to be test .* found 1 who are not: p0-1\."):
        check_tested({"tta": [part]}, splits=leaked)
    with pytest.raises(InputError, match="repeat 0, fold 0"):
        check_tested({"tta": [part]}, splits=good.assign(fold=1))


def test_bad_slides_are_those_that_could_not_be_used_whatever_the_stage():
    """Not those whose patient is out, nor those of a type that the study does not use."""
    gone = [
        ("slide", "a", "p1", "cohort", "NaN in 3 rows"),
        ("slide", "b", "p2", "cohort", "patient left out: no RNA"),
        ("slide", "c", "p1", "cohort", "slide type TS"),
        ("patient", "p2", "p2", "cohort", "no RNA"),
        ("sample", "x", "p1", "cohort", "sample type 11"),
    ]
    attrition = pd.DataFrame(gone, columns=["kind", "id", "patient_id", "stage", "reason"])
    rows = [("d", "p1", "no tissue"), ("e", "p1", ""), ("f", "p3", "")]
    features = pd.DataFrame(rows, columns=["slide_id", "patient_id", "excluded"], dtype="string")
    found = bad_slides(attrition, features=features, left_later={"f": "damaged"})
    assert found.to_numpy().tolist() == [
        ["a", "p1", "cohort", "NaN in 3 rows"],
        ["d", "p1", "tiles, features", "no tissue"],
        ["f", "p3", "train, evaluate", "damaged"],
    ]
