"""The splits stage: who is drawn, what a file may say, and what is refused."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tta_pipeline.config import Splits
from tta_pipeline.errors import InputError
from tta_pipeline.io import tables
from tta_pipeline.io.published_splits import read_splits
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
    splits.run(patients=patients, out=out, parts=out.with_name("parts.tsv"), config=Splits.model_validate(options))
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


def run_inner(patients: Path, **options: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The splits, and those inside of their training parts."""
    out, inner = patients.parent / "splits.tsv", patients.parent / "inner_splits.tsv"
    drawn = Splits.model_validate(options)
    splits.run(patients=patients, out=out, parts=out.with_name("parts.tsv"), inner=inner, config=drawn)
    return tables.read_table(out, columns=tables.SPLITS), tables.read_table(inner, columns=tables.SPLITS)


@pytest.mark.parametrize("group_by_site", [False, True])
def test_inner_folds_cut_the_training_part_and_nothing_else(tmp_path: Path, group_by_site: bool) -> None:
    patients = write_patients(tmp_path, n=90, sites=30)
    outer, inner = run_inner(patients, folds=3, repeats=2, inner_folds=4, group_by_site=group_by_site)
    site = tables.read_table(patients, columns=tables.PATIENTS).set_index("patient_id")["site"]
    assert len(inner[["repeat", "fold"]].drop_duplicates()) == 2 * 3 * 4
    for (repeat, fold), own in outer.groupby(["repeat", "fold"]):
        known = own[own["role"] != "test"].set_index("patient_id")["role"]
        tested = []
        for part in range(int(fold) * 4, int(fold) * 4 + 4):
            rows = inner[(inner["repeat"] == repeat) & (inner["fold"] == part)].set_index("patient_id")["role"]
            assert set(rows.index) == set(known.index)
            assert set(rows.index[rows == "validation"]) == set(known.index[known == "validation"])
            tested += list(rows.index[rows == "test"])
            sites = {role: set(site[rows.index[rows == role]]) for role in ("train", "test")}
            assert not group_by_site or not sites["train"] & sites["test"]
        assert sorted(tested) == sorted(known.index[known == "train"])


def test_inner_splits_change_nothing_of_the_others_nor_with_the_order(tmp_path: Path) -> None:
    expected = run(write_patients(tmp_path))
    outer, inner = run_inner(write_patients(tmp_path))
    assert outer.equals(expected)
    again = run_inner(write_patients(tmp_path, order=1))
    assert inner.equals(again[1])


def test_a_training_part_that_cannot_be_cut_is_named(tmp_path: Path) -> None:
    patients = write_patients(tmp_path, every=10)
    with pytest.raises(InputError, match=r"splits\.inner_folds: 5: repeat 0, fold 0: .* at least 5 events"):
        run_inner(patients, folds=3)


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


def test_each_patient_may_be_a_site_of_their_own(tmp_path: Path) -> None:
    patients = write_patients(tmp_path, sites=100)
    assert tables.read_table(patients, columns=tables.PATIENTS)["site"].nunique() == 60
    table = run(patients, folds=5, repeats=2, group_by_site=True)
    assert (table.groupby(["repeat", "fold", "patient_id"]).size() == 1).all()
    tested = table[table["role"] == "test"].groupby(["repeat", "patient_id"]).size()
    assert len(tested) == 2 * 60
    assert (tested == 1).all()
    assert (tables.read_table(tmp_path / "parts.tsv", columns=tables.PARTS)["shared_sites"] == 0).all()


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


def test_a_validation_part_is_drawn_where_a_file_has_none_unless_the_config_says_so(tmp_path: Path) -> None:
    write_patients(tmp_path, n=6, every=2)
    table = own().replace({"role": {"validation": "train"}})
    assert set(run_file(tmp_path, table, folds=2, validation_fraction=0)["role"]) == {"train", "test"}
    drawn = run_file(tmp_path, table, folds=2, validation_fraction=0.4)
    assert set(drawn["role"]) == {"train", "validation", "test"}
    assert (drawn.groupby("fold")["role"].value_counts()[:, "validation"] == 2).all()
    given = table.astype(tables.SPLITS)["role"]
    assert (drawn["role"].replace("validation", "train") == given).all(), "nobody else changes roles"


def test_a_file_of_which_some_folds_lack_a_validation_part_is_refused(tmp_path: Path) -> None:
    write_patients(tmp_path, n=6, every=2)
    table = own()
    table.loc[(table["fold"] == 1) & (table["role"] == "validation"), "role"] = "train"
    with pytest.raises(
        InputError, match=r"own\.tsv: .*in every fold or in none, found none in repeat 0, fold 1\. Give these folds one"
    ):
        run_file(tmp_path, table, folds=2)
    assert run_file(tmp_path, table, folds=2, validation_fraction=0).astype(object).equals(table.astype(object))


@pytest.mark.parametrize("layout", ["splits_{}.csv", "k={}"])
def test_a_folder_of_more_folds_than_the_config_says_names_the_first_file(tmp_path: Path, layout: str) -> None:
    write_patients(tmp_path, n=6, every=2)
    for fold in range(4):
        place = tmp_path / "published" / layout.format(fold)
        place.parent.mkdir(exist_ok=True)
        if place.suffix:
            place.write_text("train,val\np000,p001\np002,\n")
        else:
            place.mkdir()
            (place / "train.csv").write_text("case_id\np000\np002\n")
            (place / "test.csv").write_text("case_id\np001\n")
    first = layout.format(2).replace(".", r"\.")
    with pytest.raises(InputError, match=rf"among 0, 1, found 2, 3 in 6 rows, the first in {first}\. Correct"):
        run(tmp_path / "patients.tsv", file=tmp_path / "published", folds=2)


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
        (
            lambda table: _edit(table, 3, "patient_id", "p9"),
            r"found 1 who are not in the cohort \(p9\), and 1 of the cohort who are not in every fold \(p003\)",
        ),
        (
            lambda table: table.drop(index=3),
            r"found 0 who are not in the cohort \(none\), and 1 of the cohort .* \(p003\)",
        ),
        (lambda table: _edit(table, 0, "role", "val"), "expected role among train, validation, test, found val"),
        (lambda table: _edit(table, 0, "fold", 2), "expected fold among 0, 1, found 2 in 1 rows"),
        (lambda table: _edit(table, 0, "fold", "0.0"), "expected fold among 0, 1, found 0.0"),
        (lambda table: _edit(table, 0, "repeat", -1), "expected repeat among 0, found -1"),
        (lambda table: _edit(table, 6, "role", "test"), "in one test part per repeat, found more for p000"),
        (
            lambda table: table[table["fold"] == 0],
            "expected 1 repeats of 2 folds .* found no rows for repeat 0, fold 1",
        ),
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


def test_strangers_are_dropped_and_counted_where_the_config_says_so(tmp_path: Path, caplog) -> None:
    write_patients(tmp_path, n=12, every=2)
    table = run(tmp_path / "patients.tsv", folds=2, validation_fraction=0)
    changed = table[table["patient_id"] != "p003"].replace({"patient_id": {"p004": "q4"}})
    found = run_file(tmp_path, changed, folds=2, validation_fraction=0, strangers="drop")
    assert set(found["patient_id"]) == set(table["patient_id"]) - {"p003", "p004"}
    assert "1 patients of" in caplog.text
    assert "are not in the cohort: q4" in caplog.text
    assert "2 patients of the cohort are in no part: p003, p004" in caplog.text


def test_the_parts_are_described_with_the_sites_that_they_share(tmp_path: Path) -> None:
    table = run(write_patients(tmp_path, n=60), folds=3)
    parts = tables.read_table(tmp_path / "parts.tsv", columns=tables.PARTS)
    cohort = tables.read_table(tmp_path / "patients.tsv", columns=tables.PATIENTS)
    joined = table.merge(cohort, on="patient_id")
    for row in parts.to_dict("records"):
        own = joined[(joined["fold"] == row["fold"]) & (joined["role"] == row["role"])]
        train = joined[(joined["fold"] == row["fold"]) & (joined["role"] == "train")]
        shared = set() if row["role"] == "train" else set(own["site"]) & set(train["site"])
        assert (row["patients"], row["events"], row["sites"]) == (len(own), own["event"].sum(), own["site"].nunique())
        assert row["shared_sites"] == len(shared)
    run(tmp_path / "patients.tsv", folds=3, group_by_site=True)
    grouped = tables.read_table(tmp_path / "parts.tsv", columns=tables.PARTS)
    assert (grouped["shared_sites"] == 0).all()
    assert (parts["shared_sites"] > 0).any()


# Patients of each test part, and of all, as the authors published them. TCGA-STAD's site is in the barcode.
PUBLISHED = {
    "survpath/stad": ([43, 56, 101, 45, 74], 319),
    "survpath/blca": ([70, 72, 75, 71, 71], 359),
    "survpath/coadread": ([58, 71, 45, 69, 55], 298),
    "mmp/STAD": ([42, 56, 101, 45, 74], 318),
    "mmp/BLCA": ([70, 72, 75, 71, 71], 359),
    "mmp/COADREAD": ([58, 71, 45, 67, 55], 296),
}


def cohort_of(names: list[str], folder: Path) -> Path:
    """A cohort of these patients, with the sites of their barcodes and an event for every third."""
    number = np.arange(len(names))
    table = pd.DataFrame({"patient_id": names, "site": [name[5:7] for name in names]})
    table = table.assign(time_days=10.0 + number, event=number % 3 == 0, n_slides=1)
    tables.write_table(folder / "patients.tsv", table, columns=tables.PATIENTS)
    return folder / "patients.tsv"


@pytest.mark.real
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_splits(tmp_path: Path, real_data: Path, name: str) -> None:
    tested, everybody = PUBLISHED[name]
    source = read_splits(real_data / "splits" / name)
    names = sorted(set(source["patient_id"]))
    assert len(names) == everybody
    table = run(cohort_of(names, tmp_path), file=real_data / "splits" / name, validation_fraction=0)
    assert [int(((table["fold"] == fold) & (table["role"] == "test")).sum()) for fold in range(5)] == tested
    assert not table.duplicated(["fold", "patient_id"]).any()
    parts = tables.read_table(tmp_path / "parts.tsv", columns=tables.PARTS)
    assert (parts.loc[parts["role"] == "test", "shared_sites"] == 0).all(), "they are split by site"


@pytest.mark.real
def test_a_validation_part_is_drawn_from_published_training_patients(tmp_path: Path, real_data: Path) -> None:
    folder = real_data / "splits" / "mmp" / "STAD"
    patients = cohort_of(sorted(set(read_splits(folder)["patient_id"])), tmp_path)
    published = run(patients, file=folder, validation_fraction=0)
    table = run(patients, file=folder, validation_fraction=0.2)
    both = table.merge(published, on=["repeat", "fold", "patient_id"], suffixes=("", "_published"))
    assert (both.loc[both["role_published"] == "test", "role"] == "test").all()
    train = both[both["role_published"] == "train"]
    assert (train["role"] == "validation").mean() == pytest.approx(0.2, abs=0.01)
    assert run(patients, file=folder, validation_fraction=0.2).equals(table)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "found an empty folder"),
        ({"notes.txt": "x"}, "found notes.txt"),
        ({"splits_0.csv": "train,val\na,b\n", "k=0/train.csv": "case_id\na\n"}, "found both"),
        ({"splits_1.csv": "train,val\na,b\n"}, "numbered from 0 without a gap, found 1"),
        ({"splits_0.csv": "training,val\na,b\n"}, "splits_0.csv: expected column 'train'"),
        ({"k=0/train.csv": "case_id\na\n"}, "test.csv: expected a file, found nothing"),
        ({"k=0/train.csv": "case\na\n", "k=0/test.csv": "case_id\nb\n"}, "train.csv: expected column 'case_id'"),
    ],
)
def test_folders_that_hold_no_splits(tmp_path: Path, files: dict[str, str], message: str) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_splits(folder)


def test_a_patient_in_two_parts_of_a_published_fold(tmp_path: Path) -> None:
    write_patients(tmp_path, n=6, every=2)
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "splits_0.csv").write_text(",train,val\n0,p000,p001\n1,p001,p002\n2,p003,p004\n3,p005,\n")
    (folder / "splits_1.csv").write_text(",train,val\n0,p001,p000\n1,p002,p003\n2,p004,p005\n")
    with pytest.raises(InputError, match=r"one role per patient and fold, found p001 as .* in repeat 0, fold 0"):
        run(tmp_path / "patients.tsv", file=folder, folds=2, strangers="drop")


@pytest.mark.parametrize("strangers", ["fail", "drop"])
def test_splits_of_another_study_are_named(tmp_path: Path, strangers: str) -> None:
    patients = write_patients(tmp_path)
    (tmp_path / "s.tsv").write_text("repeat\tfold\tpatient_id\trole\n0\t0\tX1\ttrain\n0\t1\tX1\ttest\n")
    with pytest.raises(
        InputError, match=r"such as p000, .*found 1 others, such as X1: these are splits of another study"
    ):
        run(patients, folds=2, file=tmp_path / "s.tsv", strangers=strangers, validation_fraction=0)
