"""The splits stage: who is drawn, what a file may say, and what is refused."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tta_pipeline.config import Splits
from tta_pipeline.errors import InputError
from tta_pipeline.io import tables
from tta_pipeline.stages import splits


def write_patients(folder: Path, *, n: int = 60, every: int = 3, sites: int = 12, order: int | None = None) -> Path:
    """A cohort in which each `every`-th patient has an event."""
    number = np.arange(n)
    table = pd.DataFrame(
        {
            "patient_id": [f"p{value:03d}" for value in number],
            "site": [f"s{value % sites}" if sites else "" for value in number * 7 // 5],
            "time_days": 10.0 + number,
            "event": number % every == 0,
            "n_slides": 1,
        }
    )
    if order is not None:
        table = table.sample(frac=1, random_state=order)
    tables.write_table(folder / "patients.tsv", table, columns=tables.PATIENTS)
    return folder / "patients.tsv"


def run(patients: Path, **options: object) -> pd.DataFrame:
    out = patients.parent / "splits.tsv"
    splits.run(patients=patients, out=out, config=Splits.model_validate(options))
    return tables.read_table(out, columns=tables.SPLITS)


def run_file(folder: Path, table: pd.DataFrame, **options: object) -> pd.DataFrame:
    table.to_csv(folder / "own.tsv", sep="\t", index=False)
    return run(folder / "patients.tsv", file=folder / "own.tsv", **options)


def test_every_patient_has_one_role_and_is_tested_once_per_repeat(tmp_path: Path) -> None:
    table = run(write_patients(tmp_path), folds=4, repeats=3)
    assert not table.duplicated(["repeat", "fold", "patient_id"]).any()
    assert (table.groupby(["repeat", "fold"]).size() == 60).all()
    assert len(table) == 3 * 4 * 60
    tested = table[table["role"] == "test"]
    assert (tested.groupby(["repeat", "patient_id"]).size() == 1).all()
    assert len(tested) == 3 * 60
    assert table.equals(table.sort_values(["repeat", "fold", "patient_id"], ignore_index=True))


@pytest.mark.parametrize("group_by_site", [False, True])
def test_the_order_of_patients_does_not_matter(tmp_path: Path, group_by_site: bool) -> None:
    expected = run(write_patients(tmp_path), group_by_site=group_by_site)
    assert run(write_patients(tmp_path, order=1), group_by_site=group_by_site).equals(expected)


def test_more_repeats_keep_the_first_ones(tmp_path: Path) -> None:
    patients = write_patients(tmp_path)
    one, three = run(patients, repeats=1), run(patients, repeats=3)
    assert three[three["repeat"] == 0].equals(one)
    assert not run(patients, seed=1).equals(one)


def test_sites_never_cross_roles(tmp_path: Path) -> None:
    patients = write_patients(tmp_path)
    table = run(patients, folds=3, repeats=2, group_by_site=True)
    table = table.merge(tables.read_table(patients, columns=tables.PATIENTS), on="patient_id")
    assert (table.groupby(["repeat", "fold", "site"])["role"].nunique() == 1).all()
    assert set(table["role"]) == {"train", "validation", "test"}


def test_few_test_events_are_warned_of_with_their_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(write_patients(tmp_path, n=60), folds=2, validation_fraction=0)
    assert {record.levelname for record in caplog.records} == {"INFO"}
    caplog.clear()
    run(write_patients(tmp_path, n=60), folds=5, validation_fraction=0)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 5
    assert "repeat 0, fold 4: train 48 with 16 events, test 12 with 4 events" in caplog.text


def test_grouping_needs_the_site_of_everyone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a site of each patient .*found none for 60: p000, p001"):
        run(write_patients(tmp_path, sites=0), group_by_site=True)


@pytest.mark.parametrize(
    ("cohort", "options", "message"),
    [
        ({"n": 4}, {"folds": 5}, "at least 5 patients for 5 parts, found 4"),
        ({"n": 12}, {"folds": 5}, "at least 5 events for 5 parts, found 4"),
        ({"sites": 3}, {"folds": 5, "group_by_site": True}, r"at least 5 groups \(sites\) for 5 parts, found 3"),
        ({"n": 4}, {"folds": 2}, "at least 2 events for 2 parts, found 1"),
    ],
)
def test_cohorts_that_are_too_small(
    tmp_path: Path, cohort: dict[str, int], options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(write_patients(tmp_path, **cohort), **options)


def own(**changes: object) -> pd.DataFrame:
    """Two folds of six patients, written by hand."""
    rows = [
        (0, fold, f"p{patient:03d}", role)
        for fold, roles in enumerate([("test", "train", "validation"), ("train", "test", "validation")])
        for patient, role in zip(range(6), [role for role in roles for _ in range(2)], strict=True)
    ]
    return pd.DataFrame(rows, columns=list(tables.SPLITS))


def test_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    write_patients(tmp_path, n=6, every=2)
    found = run_file(tmp_path, own().sample(frac=1, random_state=0), folds=2)
    assert found.astype(object).equals(own().astype(object))


def test_a_file_without_validation_says_so_in_the_config(tmp_path: Path) -> None:
    write_patients(tmp_path, n=6, every=2)
    table = own().replace({"role": {"validation": "train"}})
    assert set(run_file(tmp_path, table, folds=2, validation_fraction=0)["role"]) == {"train", "test"}
    with pytest.raises(
        InputError, match=r"an event in each part, found .*validation 0 with 0 events.*fraction: 0 says"
    ):
        run_file(tmp_path, table, folds=2)


def _edit(table: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    return table.astype(object).where((table.index != row)[:, None] | (table.columns != column), value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda table: pd.concat([table, _edit(table, 0, "role", "train").head(1)]),
            "p000 as test and train in repeat 0",
        ),
        (lambda table: pd.concat([table, table.head(1)]), "p000 as test and test in repeat 0, fold 0"),
        (lambda table: _edit(table, 3, "patient_id", "p9"), "patient_id among p000, .*found p9 in 1 rows, .*line 5"),
        (lambda table: table.drop(index=3), "repeat 0, fold 0: expected all 6 patients .*found none of p003"),
        (lambda table: _edit(table, 0, "role", "val"), "expected role among train, validation, test, found val"),
        (lambda table: _edit(table, 0, "fold", 2), "expected fold among 0, 1, found 2 in 1 rows"),
        (lambda table: _edit(table, 0, "fold", "0.0"), "expected fold among 0, 1, found 0.0"),
        (lambda table: _edit(table, 0, "repeat", -1), "expected repeat among 0, found -1"),
        (lambda table: _edit(table, 6, "role", "test"), "in one test part per repeat, found more for p000"),
        (lambda table: table[table["fold"] == 0], "repeat 0, fold 1: expected an event in each part, found train 0"),
        (lambda table: table.replace({"role": {"test": "train"}}), "test 0 with 0 events"),
        (lambda table: table.rename(columns={"role": "part"}), "expected column 'role', found repeat, fold"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path: Path, edit, message: str) -> None:
    write_patients(tmp_path, n=6, every=2)
    with pytest.raises(InputError, match=message):
        run_file(tmp_path, edit(own()), folds=2)


def test_a_file_may_not_cut_sites_that_stay_together(tmp_path: Path) -> None:
    write_patients(tmp_path, n=6, every=2, sites=1)
    with pytest.raises(InputError, match=r"one role per site .*found several for site s0 in repeat 0, fold 0"):
        run_file(tmp_path, own(), folds=2, group_by_site=True)


def test_a_part_without_events_is_refused(tmp_path: Path) -> None:
    write_patients(tmp_path, n=6, every=4)
    with pytest.raises(
        InputError, match=r"fold 0: expected an event in each part, found .*validation 2 with 1.*|train"
    ):
        run_file(tmp_path, own(), folds=2)
