"""Coverage of gene sets: what adds up whatever the sets are, and small cases by hand."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_pipeline.numerics import coverage

NAMES = {"OLD": "NEW", "ALSO": "NEW", "7157": "TP53"}


def name(label):
    return NAMES.get(label, label)


def test_names_are_brought_together_and_told_apart():
    """Of a set, what the matrix writes alike, otherwise, twice, by two names, and not at all."""
    sets = {"S": ["A", "OLD", "7157", "B", "GONE", "C"]}
    found = coverage.cover(sets, measured=["B", "NEW", "A", "TP53", "ALSO", "B", "X"], name=name)["S"]
    assert found.genes == ["A", "NEW", "TP53", "B", "GONE", "C"]
    assert found.available == ["A", "NEW", "TP53", "B"]
    assert found.renamed == {"OLD": "NEW", "7157": "TP53"}
    assert found.repeated == ["NEW", "B"]
    assert found.missing == ["GONE", "C"]


def test_a_gene_that_a_set_writes_twice_counts_once():
    found = coverage.cover({"S": ["OLD", "NEW", "ALSO"]}, measured=["NEW"], name=name)["S"]
    assert (found.genes, found.available, found.renamed, found.missing) == (["NEW"], ["NEW"], {}, [])
    found = coverage.cover({"S": ["OLD", "ALSO"]}, measured=["X"], name=name)["S"]
    assert found.missing == ["OLD"]


LABELS = st.lists(st.sampled_from(["A", "B", "C", "OLD", "ALSO", "NEW", "7157", "TP53"]))


@given(members=LABELS, measured=LABELS)
def test_what_adds_up(members, measured):
    found = coverage.cover({"S": members}, measured=measured, name=name)["S"]
    assert len(found.genes) == len(set(map(name, members)))
    assert len(found.genes) == len(found.available) + len(found.missing)
    assert set(found.available) == set(map(name, members)) & set(map(name, measured))
    assert set(found.repeated) <= set(found.available)
    for written, label in found.renamed.items():
        assert name(written) == name(label)
        assert label in measured
        assert written not in measured or name(written) in measured  # the row of the approved symbol counts
    as_written = coverage.cover({"S": members}, measured=measured, name=str)["S"]
    assert as_written.renamed == {}
    assert set(map(name, as_written.available)) | set(map(name, found.renamed)) == set(found.available)


@pytest.mark.parametrize(
    ("min_genes", "min_coverage", "kept"), [(1, 0, "LS"), (2, 0, "L"), (1, 0.5, "S"), (2, 0.5, "")]
)
def test_sets_with_enough_genes_are_kept(min_genes, min_coverage, kept):
    sets = {"L": ["A", "B", "x", "y", "z"], "S": ["A", "v"], "0": ["w"]}
    covered = coverage.cover(sets, measured=["A", "B"], name=str)
    found = coverage.kept_sets(covered, min_genes=min_genes, min_coverage=min_coverage)
    assert list(found) == list(kept)
    assert all(found[title] == covered[title].available for title in found)


TABLE = pd.DataFrame(
    {
        "name": ["a", "b", "c", "d"],
        "genes": [1000, 5, 5, 3],
        "available": [990, 2, 2, 3],
        "renamed": [2, 1, 0, 3],
        "repeated": [0, 1, 0, 0],
        "renamed_genes": ["A=B;C=D", "A=B", "", "E=F;G=H;A=B"],
    }
)


def test_totals_in_words():
    assert coverage.sentence(TABLE) == (
        "1,013 in 4 sets, one of two sets counted twice; 997 (98%) were measured, 6 of them under another name "
        "(A as B, C as D, E as F, ...), 1 in several rows; 16 are missing"
    )
    assert "0 of them under another name, 0 in several rows" in coverage.sentence(TABLE[2:3])


def test_sets_that_miss_most():
    worst = coverage.most_missing(TABLE, most=9)
    assert worst[["name", "missing"]].to_numpy().tolist() == [["a", 10], ["b", 3], ["c", 3]]
    assert list(coverage.most_missing(TABLE, most=2)["name"]) == ["a", "b"]
    assert pd.isna(coverage.share(TABLE[:0]))
