"""The sheet from a folder of downloads: whose slides they are, and whether they are whole."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tta_pipeline import cli
from tta_pipeline.commands import sheet
from tta_pipeline.errors import InputError
from tta_pipeline.io.cohort import read_slides

UUID = "F6E9A5DF-D8FB-45CF-B4BD-C6B76294C291"
NAMES = (f"TCGA-3C-AALI-01Z-00-DX1.{UUID}.svs", "TCGA-3C-AALI-01A-01-TS1.svs", "TCGA-4H-AAAK-01Z-00-DX1.svs")


def download(folder: Path, *, nested: bool) -> Path:
    for number, name in enumerate(NAMES):
        path = folder / f"id{number}" / name if nested else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"slide" * (number + 1))
        (path.parent / "annotations.txt").write_text("about")
    return folder


@pytest.mark.parametrize("nested", [False, True])
def test_a_folder_of_tcga_slides(tmp_path: Path, nested: bool) -> None:
    sheet.run(folder=download(tmp_path / "raw", nested=nested), out=tmp_path / "slides.tsv")
    table = read_slides(tmp_path / "slides.tsv")
    assert table["slide_id"].tolist() == [f"TCGA-3C-AALI-01Z-00-DX1.{UUID}", "TCGA-4H-AAAK-01Z-00-DX1"]
    assert table["patient_id"].tolist() == ["TCGA-3C-AALI", "TCGA-4H-AAAK"]
    assert table["mpp"].isna().all()


def test_frozen_slides_by_choice_and_from_the_command_line(tmp_path: Path) -> None:
    folder = download(tmp_path / "raw", nested=True)
    arguments = ["sheet", "--folder", str(folder), "--out", str(tmp_path / "s.tsv"), "--types", "DX", "TS"]
    assert cli.run(arguments) == 0
    assert len(read_slides(tmp_path / "s.tsv")) == 3
    assert cli.run(arguments) == 2, "a sheet is not overwritten"


def test_paths_are_relative_below_the_sheet_and_absolute_elsewhere(tmp_path: Path) -> None:
    folder = download(tmp_path / "raw", nested=False)
    sheet.run(folder=folder, out=tmp_path / "below.tsv")
    assert "\t./raw/TCGA-4H" in (tmp_path / "below.tsv").read_text()
    sheet.run(folder=folder, out=tmp_path / "study" / "beside.tsv")
    assert f"\t{tmp_path}/raw/TCGA-4H" in (tmp_path / "study" / "beside.tsv").read_text()


def test_a_sample_sheet_says_whose_slides_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in ("one.svs", "two.svs", "other.svs"):
        (folder / name).touch()
    text = "File ID\tFile Name\tCase ID\tSample ID\na\tone.svs\tC3L-1, C3L-1\tx\nb\ttwo.svs\tC3L-2\ty\n"
    (tmp_path / "samples.tsv").write_text(text)
    sheet.run(folder=folder, out=tmp_path / "s.tsv", samples=tmp_path / "samples.tsv")
    table = read_slides(tmp_path / "s.tsv")
    assert dict(zip(table["slide_id"], table["patient_id"], strict=True)) == {"one": "C3L-1", "two": "C3L-2"}
    with pytest.raises(InputError, match=r"names that begin with TCGA barcodes, found 3 .*one.svs.*--samples"):
        sheet.run(folder=folder, out=tmp_path / "t.tsv")


def manifest_of(folder: Path, target: Path) -> Path:
    rows = ["id\tfilename\tmd5\tsize\tstate"]
    for path in sorted(folder.rglob("*.svs")):
        content = path.read_bytes()
        rows.append(f"x\t{path.name}\t{hashlib.md5(content).hexdigest()}\t{len(content)}\treleased")
    target.write_text("\n".join([*rows, "y\trna.tsv\t0\t5\treleased"]) + "\n")
    return target


def test_a_manifest_tells_what_is_missing_cut_off_or_damaged(tmp_path: Path) -> None:
    folder = download(tmp_path / "raw", nested=True)
    manifest = manifest_of(folder, tmp_path / "gdc_manifest.txt")
    sheet.run(folder=folder, out=tmp_path / "whole.tsv", manifest=manifest, md5=True)
    (folder / "id0" / NAMES[0]).write_bytes(b"sli")
    (folder / "id2" / NAMES[2]).write_bytes(b"SLIDE" * 3)
    (folder / "id1" / NAMES[1]).unlink()
    with pytest.raises(InputError) as caught:
        sheet.run(folder=folder, out=tmp_path / "s.tsv", manifest=manifest, md5=True)
    message = str(caught.value)
    assert f"{NAMES[0]} has 3 of 5 bytes" in message
    assert f"{NAMES[1]} is missing" in message
    assert f"{NAMES[2]} has another md5" in message
    assert not (tmp_path / "s.tsv").exists()


def test_folders_without_slides(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder of slides, found none"):
        sheet.run(folder=tmp_path / "none", out=tmp_path / "s.tsv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found none among 0"):
        sheet.run(folder=tmp_path / "empty", out=tmp_path / "s.tsv")
    folder = download(tmp_path / "raw", nested=True)
    with pytest.raises(InputError, match=r"expected slides of type BS, found DX, TS. Name them with --types"):
        sheet.run(folder=folder, out=tmp_path / "s.tsv", types=["BS"])
    shutil.copy(folder / "id2" / NAMES[2], folder / NAMES[2])
    with pytest.raises(InputError, match="expected each slide once, found TCGA-4H-AAAK-01Z-00-DX1 more than once"):
        sheet.run(folder=folder, out=tmp_path / "s.tsv")


def test_no_formula_of_a_sample_sheet_reaches_the_sheet(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "=x.svs").touch()
    text = "File ID\tFile Name\tCase ID\na\t=x.svs\t=cmd|'/c calc'!A1\n"
    (tmp_path / "samples.tsv").write_text(text)
    arguments = ["sheet", "--folder", str(tmp_path / "raw"), "--samples", str(tmp_path / "samples.tsv")]
    assert cli.run([*arguments, "--out", str(tmp_path / "s.tsv")]) == 0
    row = (tmp_path / "s.tsv").read_text().splitlines()[1].split("\t")
    assert row == ["'=x", "'=cmd|'/c calc'!A1", "./raw/=x.svs", ""]
