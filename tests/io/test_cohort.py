"""The sheet of slides and the clinical table: what is understood, and what is refused."""

import logging
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tta_pipeline.config import Inputs
from tta_pipeline.errors import InputError
from tta_pipeline.io.cohort import read_clinical, read_slides


def write_sheet(folder: Path, text: str, *, files: tuple[str, ...] = ("a.svs", "b.svs")) -> Path:
    for name in files:
        (folder / name).touch()
    path = folder / "slides.csv"
    path.write_text(text, encoding="utf-8")
    return path


def write_clinical(folder: Path, text: str, **options: Any) -> Inputs:
    (folder / "clinical.csv").write_text(text, encoding="utf-8")
    nowhere = dict.fromkeys(("slides", "expression", "gene_sets"), folder / "none")
    return Inputs(clinical=folder / "clinical.csv", **nowhere, **options)


@pytest.mark.parametrize("column", ["patient_id", "case_id"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_sheet_of_slides(tmp_path: Path, column: str, delimiter: str, bom: str) -> None:
    text = f"slide_id,{column},path,mpp,scanner\ns2,p1,b.svs,0.25,x\ns1, p1 ,a.svs,,y\n"
    table = read_slides(write_sheet(tmp_path, bom + text.replace(",", delimiter)))
    assert table[["slide_id", "patient_id"]].to_numpy().tolist() == [["s2", "p1"], ["s1", "p1"]]
    assert table["path"].tolist() == [str(tmp_path / "b.svs"), str(tmp_path / "a.svs")]
    assert table["features"].tolist() == ["", ""]
    assert table["mpp"].iloc[0] == 0.25
    assert math.isnan(table["mpp"].iloc[1])


def test_a_slide_may_bring_features_or_an_image_or_both(tmp_path: Path) -> None:
    text = f"slide_id,patient_id,path,features\ns1,p1,a.svs,\ns2,p2,NA,f.h5\ns3,p3,b.svs,{tmp_path / 'g.h5'}\n"
    table = read_slides(write_sheet(tmp_path, text, files=("a.svs", "b.svs", "f.h5", "g.h5")))
    assert table["features"].tolist() == ["", str(tmp_path / "f.h5"), str(tmp_path / "g.h5")]
    assert table["path"].tolist() == [str(tmp_path / "a.svs"), "", str(tmp_path / "b.svs")]


def test_all_wrong_rows_are_named_at_once(tmp_path: Path) -> None:
    text = "slide_id,patient_id,path,mpp\ns1,p1,a.svs,\ns2,p2,gone.svs,\ns3,p3,lost.svs,\ns1,p4,b.svs,40\n"
    with pytest.raises(InputError) as caught:
        read_slides(write_sheet(tmp_path, text))
    message = str(caught.value)
    assert f"line 3 (slide s2): path {tmp_path / 'gone.svs'} does not exist" in message
    assert f"line 4 (slide s3): path {tmp_path / 'lost.svs'} does not exist" in message
    assert "lines 2, 5: slide s1 is listed 2 times" in message
    assert "line 5 (slide s1): mpp '40' is not between 0.05 and 20.0" in message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../s,p1,a.svs,", r"slide_id '\.\./s' is no safe file name"),
        ("s 1,p1,a.svs,", "slide_id 's 1' is no safe file name"),
        (".s,p1,a.svs,", "is no safe file name"),
        (f"{'s' * 201},p1,a.svs,", "is no safe file name"),
        (",p1,a.svs,", r"line 2 \(slide \?\): slide_id '' is no safe file name"),
        ("s1,NA,a.svs,", "patient_id 'NA' is missing"),
        ("s1,p\x07,a.svs,", "is missing or not printable"),
        ("s1,p1,,", "neither path nor features is given"),
        ("s1,p1,a.svs,half", "mpp 'half' is not between"),
        ("s1,p1,a.svs,-1", "mpp '-1' is not between"),
        ("s1,p1,a.svs,\ns2,p2,a.svs,", r"lines 2, 3: file .*a\.svs is listed 2 times"),
    ],
)
def test_rows_that_cannot_be_slides(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_slides(write_sheet(tmp_path, f"slide_id,patient_id,path,mpp\n{row}\n"))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("slide,patient_id,path", "expected column 'slide_id', found slide, patient_id, path. Similar: slide"),
        ("slide_id,patient,path", "expected column 'patient_id', found slide_id, patient, path"),
        ("slide_id,patient_id,file", "expected column 'path', found .*needs slide_id, patient_id"),
        ("slide_id;patient_id;path", "found slide_id;patient_id;path"),
        ("slide_id,patient_id,path", "expected at least one slide, found only a header"),
    ],
)
def test_sheets_without_what_is_needed(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_slides(write_sheet(tmp_path, header + "\n"))


def test_outcome_by_patient(tmp_path: Path) -> None:
    inputs = write_clinical(tmp_path, "patient_id,time_days,event,age\nq,1e2,0,\np,7.5,1.0,60\nother,-5,maybe,\n")
    table = read_clinical(inputs, patients={"p", "q", "absent"})
    assert table.to_dict("index") == {
        "q": {"time_days": 100.0, "event": False, "site": ""},
        "p": {"time_days": 7.5, "event": True, "site": ""},
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
        ("p,ten,1\nq,inf,1", "found 'ten' of patient p, 'inf' of patient q"),
        ("p,1,2", "column event: expected 0 or 1, found '2' of patient p"),
        ("p,1,Dead", "expected 0 or 1, found 'Dead' of patient p"),
        ("p,1,1\nq,1,1\np,2,0", "expected one row per patient, found 1 patients with more: p in lines 2, 4"),
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
        ("TCGA-BR-8077-01Z", "BR"),
        ("TCGA-BR-80771", ""),
        ("C3N-00001", ""),
        ("tcga-br-8077", ""),
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


@pytest.mark.real
def test_per_slide_clinical_tables_are_refused(real_data: Path) -> None:
    path = real_data / "clinical" / "tcga_stad.csv"
    columns = {"patient_column": "case_id", "time_column": "survival_months_dss", "event_column": "censorship_dss"}
    inputs = Inputs(slides=path, clinical=path, expression=path, gene_sets=path, **columns)
    with pytest.raises(InputError, match="found 24 patients with more: TCGA-D7-5577 in lines 141, 142"):
        read_clinical(inputs, patients=set(pd.read_csv(path)["case_id"]))
