"""The sheet of slides: what is understood, and what is refused."""

import math
from pathlib import Path

import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.io.cohort import read_slides


def write_sheet(folder: Path, text: str, *, files: tuple[str, ...] = ("a.svs", "b.svs")) -> Path:
    for name in files:
        (folder / name).touch()
    path = folder / "slides.csv"
    path.write_text(text, encoding="utf-8")
    return path


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
        ('s1,p1,a.svs,"0,25"', r"line 2 \(slide s1\): mpp '0,25' \(a decimal comma: write 0.25\) is not between"),
        ("s1,tcga-br-8077,a.svs,", "patient_id tcga-br-8077 is a case in lower case: write TCGA-BR-8077"),
        ("s1,TCGA-BR-8077-01Z-00-DX1,a.svs,", "is the barcode of a sample or slide: write TCGA-BR-8077"),
        ("s1,p1,.,", r"path .* is a folder"),
        ("s1,p1,~nobody-of-that-name/a.svs,", r"path .*/~nobody-of-that-name/a\.svs does not exist"),
        (f"s1,p1,{'x' * 5000},", "path .{300} does not exist"),
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
        ("slide_id;patient_id;path", "expected commas or tabs .* found semicolons in line 1: 'slide_id;"),
        ("slide_id,patient_id,path,MPP", "expected columns in lower case, found 'MPP' instead of 'mpp'"),
        ("slide_id,patient_id,path", "expected at least one slide, found only a header"),
    ],
)
def test_sheets_without_what_is_needed(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_slides(write_sheet(tmp_path, header + "\n"))


def test_of_many_wrong_rows_the_first_are_named(tmp_path: Path) -> None:
    rows = "".join(f"s{number},p{number},gone.svs\n" for number in range(50))
    with pytest.raises(InputError, match=r"line 21 \(slide s19\).*\n  and 31 more\nPaths") as caught:
        read_slides(write_sheet(tmp_path, "slide_id,patient_id,path\n" + rows))
    assert "slide s20" not in str(caught.value)


@pytest.mark.parametrize("cell", ["../a.svs", "below/../../a.svs"])
def test_a_relative_path_stays_below_the_sheet(tmp_path: Path, cell: str) -> None:
    (tmp_path / "a.svs").touch()
    (tmp_path / "study").mkdir()
    sheet = write_sheet(tmp_path / "study", f"slide_id,patient_id,path\ns1,p1,{cell}\n")
    with pytest.raises(InputError, match=r"found paths that lead out of it: line 2: path .*absolute"):
        read_slides(sheet)
    sheet.write_text(f"slide_id,patient_id,path\ns1,p1,{tmp_path / 'a.svs'}\n")
    assert len(read_slides(sheet)) == 1


def test_an_excel_file_is_no_sheet_of_slides(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"slides\.xlsx: expected CSV or TSV, found an Excel file"):
        read_slides(tmp_path / "slides.xlsx")
