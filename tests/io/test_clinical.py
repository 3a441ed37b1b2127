"""Clinical tables: what is understood, and what is refused."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest

from tta_pipeline.config import Inputs
from tta_pipeline.errors import InputError
from tta_pipeline.io.clinical import read_clinical, read_covariates


def write_clinical(folder: Path, text: str, **options: Any) -> Inputs:
    (folder / "clinical.csv").write_text(text, encoding="utf-8")
    nowhere = dict.fromkeys(("slides", "expression", "gene_sets"), folder / "none")
    return Inputs(clinical=folder / "clinical.csv", **nowhere, **options)


def test_outcome_by_patient(tmp_path: Path) -> None:
    inputs = write_clinical(tmp_path, "patient_id,time_days,event,age\nq,1e2,0,\np,7.5,1.0,60\nother,-5,maybe,\n")
    table = read_clinical(inputs, patients={"p", "q", "absent"})
    assert table.to_dict("index") == {
        "q": {"time_days": 100.0, "event": False, "site": "", "redacted": False},
        "p": {"time_days": 7.5, "event": True, "site": "", "redacted": False},
    }


def test_a_one_may_mean_censorship(tmp_path: Path) -> None:
    text = "patient_id,time_days,event\np,1,1\nq,1,0\nr,1,\n"
    as_event = read_clinical(write_clinical(tmp_path, text), patients="pqr")["event"]
    as_censorship = read_clinical(write_clinical(tmp_path, text, event_means="censorship"), patients="pqr")["event"]
    assert as_event.tolist() == [True, False, pd.NA]
    assert as_censorship.tolist() == [False, True, pd.NA]


def test_months_become_days(tmp_path: Path) -> None:
    text = "patient_id,time_days,event\np,12,1\n"
    year = read_clinical(write_clinical(tmp_path, text, time_unit="months"), patients={"p"})
    assert year["time_days"].tolist() == [365.25]
    survpath = write_clinical(tmp_path, text, time_unit="months", days_per_month=30)
    assert read_clinical(survpath, patients={"p"})["time_days"].tolist() == [360.0]


@pytest.mark.parametrize("cell", ["", "NA", "#N/A", "[Not Available]", "[Discrepancy]", "NaN", "'--"])
def test_cells_that_are_not_known_are_missing(tmp_path: Path, cell: str) -> None:
    inputs = write_clinical(tmp_path, f"patient_id,time_days,event\np,{cell},1\nq,3,{cell}\n")
    table = read_clinical(inputs, patients={"p", "q"})
    assert table["time_days"].isna().tolist() == [True, False]
    assert table["event"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("p,-1,1", "column time_days: expected a time of 0 or more, found '-1' of patient p"),
        ("p,ten,1\nq,inf,1", "found 'ten' of patient p in line 2, 'inf' of patient q in line 3"),
        ("p,1,2", "column event: expected 0 or 1, found '2' of patient p"),
        ("p,1,Dead", "expected 0 or 1, found 'Dead' of patient p in line 2. Write 1 where the event was observed"),
        ("x,1,1\np,1,1\nq,-3,1", "found '-3' of patient q in line 4. Correct"),
        ('p,"0,5",1', r"found '0,5' \(a decimal comma: write 0.5\) of patient p in line 2"),
        ("p,1_000,1", "found '1_000' of patient p in line 2"),
        ("p,1,1\n,5,1\nq,1,0", "column patient_id: expected a patient in each row, found none in line 3. Fill"),
        ("", "expected rows below the header, found none"),
        ("p,1,1\nq,1,1\np,2,0", "found 1 patients with more: p: 1 with 1 in line 2 and 2 with 0 in line 4"),
    ],
)
def test_outcomes_that_cannot_be(tmp_path: Path, rows: str, message: str) -> None:
    inputs = write_clinical(tmp_path, f"patient_id,time_days,event\n{rows}\n")
    with pytest.raises(InputError, match=message):
        read_clinical(inputs, patients={"p", "q"})


def test_a_missing_clinical_column_names_the_similar_ones(tmp_path: Path) -> None:
    inputs = write_clinical(tmp_path, "bcr_patient_barcode,DSS.time,DSS\n", time_column="dss_time", event_column="DSS")
    message = r"expected column 'patient_id' and 'dss_time', found bcr_.*Similar: .*DSS\.time, .*Name the columns with"
    with pytest.raises(InputError, match=message):
        read_clinical(inputs, patients={"p"})


@pytest.mark.parametrize(
    ("patient", "site"),
    [
        ("TCGA-3M-AB46", "3M"),
        ("TCGA-BR-80771", ""),
        ("C3N-00001", ""),
    ],
)
def test_site_of_a_barcode(tmp_path: Path, patient: str, site: str) -> None:
    inputs = write_clinical(tmp_path, f"patient_id,time_days,event\n{patient},1,1\n")
    assert read_clinical(inputs, patients={patient})["site"].tolist() == [site]


def test_site_of_a_column(tmp_path: Path) -> None:
    text = "patient_id,time_days,event,hospital\nTCGA-3M-AB46,1,1,North\nq,1,1,NA\n"
    inputs = write_clinical(tmp_path, text, site_column="hospital")
    assert read_clinical(inputs, patients={"TCGA-3M-AB46", "q"})["site"].tolist() == ["North", ""]


def test_rows_of_others_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inputs = write_clinical(tmp_path, "patient_id,time_days,event\np,1,1\nx,1,1\ny,1,1\n")
    with caplog.at_level(logging.INFO):
        read_clinical(inputs, patients={"p"})
    assert "1 of 3 rows belong to the study" in caplog.text


def test_rows_of_slides_that_say_the_same_of_a_patient_are_one(tmp_path: Path) -> None:
    text = "patient_id,slide,time_days,event\np,s1,5,1\np,s2,5,1\nq,s3,7,0\n"
    table = read_clinical(write_clinical(tmp_path, text), patients={"p", "q"})
    assert table["time_days"].to_dict() == {"p": 5.0, "q": 7.0}


@pytest.mark.parametrize("case", ["TCGA-BR-8077-01Z", "tcga-br-8077", "TCGA-BR-8077-01Z-00-DX1"])
def test_barcodes_of_something_else_in_the_column_of_cases(tmp_path: Path, case: str) -> None:
    inputs = write_clinical(tmp_path, f"patient_id,time_days,event\nTCGA-3M-AB46,1,1\n{case},1,1\n")
    with pytest.raises(
        InputError, match=rf"expected cases such as TCGA-BR-8077.*found 1 barcodes.*line 3: {case}.* upper case"
    ):
        read_clinical(inputs, patients={"TCGA-3M-AB46", "TCGA-BR-8077"})
    assert list(read_clinical(inputs, patients={"TCGA-3M-AB46"}).index) == ["TCGA-3M-AB46"], "strangers may be odd"


def many(times: list[float]) -> str:
    return "patient_id,time_days,event\n" + "".join(f"p{number},{time},1\n" for number, time in enumerate(times))


@pytest.mark.parametrize(
    ("times", "unit", "message"),
    [
        ([float(number) for number in range(120)], "days", "expected days .*found 119 as the longest of 120 times"),
        ([30.0 * number for number in range(60)], "months", "expected months .*found 1770 as the longest of 60 times"),
    ],
)
def test_times_that_cannot_be_of_their_unit(tmp_path: Path, times: list[float], unit: str, message: str) -> None:
    patients = {f"p{number}" for number in range(len(times))}
    with pytest.raises(InputError, match=message):
        read_clinical(write_clinical(tmp_path, many(times), time_unit=unit), patients=patients)
    unchecked = write_clinical(tmp_path, many(times), time_unit=unit, check_time_unit=False)
    assert len(read_clinical(unchecked, patients=patients)) == len(times)


CBIOPORTAL = """#Patient Identifier\tOverall Survival Status\tOverall Survival (Months)\tPFS\tPFS
#Identifier to uniquely specify a patient.\tx\tx\tx\tx
#STRING\tSTRING\tNUMBER\tSTRING\tNUMBER
#1\t1\t1\t1\t1
PATIENT_ID\tOS_STATUS\tOS_MONTHS\tPFS_STATUS\tPFS_MONTHS
TCGA-3M-AB46\t0:LIVING\t12\t1:PROGRESSION\t6
TCGA-BR-8077\t1:DECEASED\t24\t\t
"""


def test_a_clinical_file_of_cbioportal(tmp_path: Path) -> None:
    cases = {"TCGA-3M-AB46", "TCGA-BR-8077"}
    overall = read_clinical(write_clinical(tmp_path, CBIOPORTAL, endpoint="OS"), patients=cases)
    assert overall["event"].tolist() == [False, True]
    assert overall["time_days"].tolist() == [365.25, 730.5]
    progression = read_clinical(write_clinical(tmp_path, CBIOPORTAL, endpoint="PFI"), patients=cases)
    assert progression["event"].tolist() == [True, pd.NA]
    with pytest.raises(InputError, match=r"expected the endpoint DSS .*cBioPortal: PATIENT_ID, DSS_STATUS, DSS_MONTHS"):
        read_clinical(write_clinical(tmp_path, CBIOPORTAL, endpoint="DSS"), patients=cases)
    broken = CBIOPORTAL.replace("1:DECEASED", "DECEASED")
    with pytest.raises(InputError, match="expected a status such as 0:LIVING or 1:DECEASED, found 'DECEASED'"):
        read_clinical(write_clinical(tmp_path, broken, endpoint="OS"), patients=cases)


def test_a_column_without_a_name_redacts_nobody(tmp_path: Path) -> None:
    """Row numbers, as pandas and R write them, and as SurvPath's tables have them."""
    text = ",case_id,survival_months_dss,censorship_dss\n0,p,1,0\n1,q,2,1\n"
    table = read_clinical(write_clinical(tmp_path, text, endpoint="DSS"), patients={"p", "q"})
    assert table["redacted"].tolist() == [False, False]


def test_redacted_patients_of_tcga_cdr(tmp_path: Path) -> None:
    text = "bcr_patient_barcode,DSS,DSS.time,Redaction\nTCGA-3M-AB46,1,100,NA\nTCGA-BR-8077,0,200,Redacted\n"
    inputs = write_clinical(tmp_path, text, endpoint="DSS")
    table = read_clinical(inputs, patients={"TCGA-3M-AB46", "TCGA-BR-8077"})
    assert table["redacted"].tolist() == [False, True]


def test_tcga_cdr_as_excel(tmp_path: Path) -> None:
    """Its sheet stands among others, and its first column numbers the rows without a name."""
    text = "bcr_patient_barcode,OS,OS.time\nTCGA-3M-AB46,1,100\nTCGA-BR-8077,0,#N/A\n"
    inputs = write_clinical(tmp_path, text, endpoint="OS")
    book = openpyxl.Workbook()
    book.active.title = "notes"
    sheet = book.create_sheet("TCGA-CDR")
    sheet.append([None, "bcr_patient_barcode", "OS", "OS.time"])
    sheet.append([1, "TCGA-3M-AB46", 1, 100])
    sheet.append([2, "TCGA-BR-8077", 0, "#N/A"])
    book.save(tmp_path / "cdr.xlsx")
    excel = inputs.model_copy(update={"clinical": tmp_path / "cdr.xlsx"})
    cases = {"TCGA-3M-AB46", "TCGA-BR-8077"}
    pd.testing.assert_frame_equal(read_clinical(excel, patients=cases), read_clinical(inputs, patients=cases))
    (tmp_path / "cdr.xlsx").write_text("text")
    with pytest.raises(InputError, match=r"cdr\.xlsx: expected an Excel file"):
        read_clinical(excel, patients=cases)


@pytest.mark.real
@pytest.mark.parametrize("endpoint", ["OS", "DSS", "PFI"])
@pytest.mark.parametrize("cohort", ["stad", "blca", "coadread"])
def test_survpaths_tables_say_what_tcga_cdr_says(real_data: Path, cohort: str, endpoint: str) -> None:
    """Patient by patient: SurvPath's months are days / 30, and its indicator is turned around. No patient differs."""
    folder = real_data / "clinical"
    nowhere = dict.fromkeys(("slides", "expression", "gene_sets"), folder)
    cases = set(pd.read_csv(folder / f"tcga_{cohort}.csv")["case_id"])
    survpath, cdr = (
        read_clinical(Inputs(clinical=folder / name, endpoint=endpoint, **nowhere), patients=cases).sort_index()
        for name in (f"tcga_{cohort}.csv", "tcga_cdr.csv")
    )
    assert set(survpath.index) == cases == set(cdr.index)
    assert not survpath["redacted"].any()
    both = survpath["time_days"].notna()
    np.testing.assert_allclose(survpath.loc[both, "time_days"], cdr.loc[both, "time_days"], atol=1e-6)
    assert (survpath["event"].dropna() == cdr["event"].dropna()).all()
    assert (survpath[["time_days", "event"]].isna() == cdr[["time_days", "event"]].isna()).all().all()


@pytest.mark.real
@pytest.mark.parametrize("cohort", ["STAD", "BLCA", "COADREAD"])
def test_mmps_tables_say_what_tcga_cdr_says(real_data: Path, cohort: str) -> None:
    nowhere = dict.fromkeys(("slides", "expression", "gene_sets"), real_data)
    path = real_data / "splits" / "mmp" / cohort / "k=0" / "train.csv"
    cases = set(pd.read_csv(path)["case_id"])
    mmp, cdr = (
        read_clinical(Inputs(clinical=name, endpoint="DSS", **nowhere), patients=cases).sort_index()
        for name in (path, real_data / "clinical" / "tcga_cdr.csv")
    )
    pd.testing.assert_frame_equal(mmp[["time_days", "event"]], cdr[["time_days", "event"]])


@pytest.mark.real
def test_survpaths_months_are_not_days(real_data: Path) -> None:
    path = real_data / "clinical" / "tcga_stad.csv"
    columns = {"patient_column": "case_id", "time_column": "survival_months_dss", "event_column": "censorship_dss"}
    inputs = Inputs(slides=path, clinical=path, expression=path, gene_sets=path, **columns)
    with pytest.raises(InputError, match=r"expected days .*found 118 as the longest of 319 times"):
        read_clinical(inputs, patients=set(pd.read_csv(path)["case_id"]))


def test_covariates_stand_as_in_the_table(tmp_path: Path) -> None:
    text = "patient_id,time_days,event,age,stage\nq,1,1,60,[Not Available]\np,1,1,,II\nother,1,1,5,I\n"
    inputs = write_clinical(tmp_path, text, covariates=["stage", "age"])
    found = read_covariates(inputs, patients={"p", "q"})
    assert found.to_numpy().tolist() == [["q", "stage", ""], ["q", "age", "60"], ["p", "stage", "II"], ["p", "age", ""]]
    none = write_clinical(tmp_path, text)
    assert read_covariates(none, patients={"p", "q"}).empty
    with pytest.raises(InputError, match="expected column 'grade'"):
        read_covariates(write_clinical(tmp_path, text, covariates=["grade"]), patients={"p"})
    twice = write_clinical(tmp_path, text + "p,1,1,,III\n", covariates=["stage"])
    with pytest.raises(InputError, match="one value of each covariate per patient, found several for p"):
        read_covariates(twice, patients={"p"})


@pytest.mark.real
def test_covariates_of_tcga_cdr(real_data: Path) -> None:
    path = real_data / "clinical" / "tcga_cdr.csv"
    names = ["age_at_initial_pathologic_diagnosis", "gender", "ajcc_pathologic_tumor_stage", "histological_grade"]
    nowhere = dict.fromkeys(("slides", "expression", "gene_sets"), path)
    table = pd.read_csv(path, dtype=str)
    cases = set(table.loc[table["type"] == "STAD", "bcr_patient_barcode"])
    found = read_covariates(Inputs(clinical=path, endpoint="DSS", covariates=names, **nowhere), patients=cases)
    wide = found.pivot(index="patient_id", columns="covariate", values="value")
    assert set(wide.index) == cases
    assert set(wide["gender"]) == {"FEMALE", "MALE"}
    assert 0.9 < (wide["age_at_initial_pathologic_diagnosis"] != "").mean() <= 1
