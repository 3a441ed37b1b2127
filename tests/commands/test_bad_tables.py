"""Bad tables as a user meets them: one message on the command line, which names the file, the place and what to do."""

import gzip
import io
import json
import pickle
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import yaml

from tests.builders import write_features_file
from tta_pipeline import cli
from tta_pipeline.io import text_lines

Change = Callable[[Path], object]
CASES = [f"TCGA-AA-00{number:02d}" for number in range(32)]
TABLES = ("slides.csv", "clinical.csv", "rna.csv", "sets.csv", "splits.csv")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of ready-made features that can run; half of its patients have the event."""
    folder = tmp_path_factory.mktemp("study")
    for case in CASES:
        write_features_file(folder / "f" / f"{case}.h5", np.ones((2, 3), np.float16))
    number = dict(zip(CASES, range(len(CASES)), strict=True))
    rows = {
        "slides.csv": ["slide_id,patient_id,features,mpp", *(f"{case}-DX1,{case},f/{case}.h5,0.25" for case in CASES)],
        "clinical.csv": [
            "patient_id,time_days,event",
            *(f"{case},{100 + 20 * n},{n % 2}" for case, n in number.items()),
        ],
        "rna.csv": ["id,A,B,C", *(f"{case}-01A,1.5,2.25,3" for case in CASES)],
        "sets.csv": ["S1,S2", "A,A", "B,B", "C,C"],
        "splits.csv": [
            "repeat,fold,patient_id,role",
            *(f"0,{k},{case},{'test' if n // 2 % 2 == k else 'train'}" for k in (0, 1) for case, n in number.items()),
        ],
    }
    for name, lines in rows.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def study(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "study"
    shutil.copytree(written, folder)
    monkeypatch.chdir(folder)
    return folder


def check(study: Path, capsys: pytest.CaptureFixture[str], **inputs: object) -> str:
    """What the command `check` says is wrong; "" where nothing is."""
    names = dict(zip(("slides", "clinical", "expression", "gene_sets"), TABLES, strict=False)) | inputs
    splits = {"folds": 2, "validation_fraction": 0, "file": "splits.csv"}
    # A model that takes bags of any size.
    content = {"inputs": names, "splits": splits, "models": {"mlp": {"architecture": "mlp"}}}
    (study / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    code = cli.run(["check", "--study", "study.yaml"])
    said = capsys.readouterr().err
    assert (code == 0) == ("error:" not in said)
    return said if code else ""


def refused(said: str, message: str) -> None:
    """One problem alone is said, and it is this one."""
    assert "Traceback" not in said
    assert "expected a study that can run, found 1 problem:\n" in said
    assert re.search(message, said), said


def text(change: Callable[[str], str]) -> Change:
    return lambda path: path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def data(change: Callable[[bytes], bytes]) -> Change:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def zipped(path: Path) -> None:
    content = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(path.name, content)


def tarred(path: Path) -> None:
    content = path.read_bytes()
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(path.name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def excel(path: Path) -> None:
    book = openpyxl.Workbook()
    for line in path.read_text(encoding="utf-8").splitlines():
        book.active.append(line.split(","))
    with path.open("wb") as file:
        book.save(file)


OTHER_THAN_TABLES: dict[str, tuple[Change, str]] = {
    "a mixture": (
        text(lambda own: re.sub("\n[^\n]*", lambda row: row[0].replace(",", "\t"), own)),
        "found 1 in line 2. There are tabs between its cells, but commas in the header: use one of them",
    ),
    "UTF-16": (
        data(lambda own: own.decode().encode("utf-16")),
        "expected UTF-8 text .*, found text in UTF-16. Save it",
    ),
    "UTF-16 without mark": (data(lambda own: own.decode().encode("utf-16-le")), "NUL byte in line 1.* is in UTF-16"),
    "Latin-1": (data(lambda own: own[:-1] + b"\xe9\n"), r"the byte 0xE9 in line \d+, near '.*é' .* Latin-1"),
    "NUL bytes": (data(lambda own: own.replace(b"\n", b"\0\n")), "found a NUL byte in line 1"),
    "gzip cut off": (data(lambda own: gzip.compress(own)[:-9]), "expected a whole gzip file, found damage"),
    "Excel": (excel, "found an Excel workbook .* Save its sheet as CSV UTF-8"),
    "ZIP": (zipped, "found a ZIP archive. Unpack it"),
    "tar": (tarred, "found a tar archive, gzipped. Unpack it"),
    "web page": (text(lambda own: "<!doctype html>"), "found a web page. Fetch the file again"),
    "empty": (text(lambda own: ""), "expected a table with a header, found an empty file"),
    "no file": (Path.unlink, r"(expected a file, found nothing|expected a file at splits\.csv, found nothing)"),
    "a column twice": (
        text(lambda own: re.sub(r"^(.*?),", r"\1,\1,", own)),
        "expected each column once, found .* line 1",
    ),
    "ragged": (text(lambda own: own[:-1] + ",x\n"), r"expected \d cells .* in the header, found \d in line \d+. Mend"),
    "an open quote": (
        text(lambda own: re.sub(r"\n(.*)\n$", r'\n"\1\n', own)),
        r"quotation mark .* line|mark in that line is",
    ),
}


def test_the_study_can_run(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(study, capsys) == ""
    for name in TABLES:
        text(lambda own: "\n" + own.replace("\n", "\n\n").replace(",", "\t"))(study / name)
    assert check(study, capsys) == "", "nor do tabs and empty lines keep it from running"


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(("change", "message"), OTHER_THAN_TABLES.values(), ids=OTHER_THAN_TABLES)
def test_what_is_no_table_is_one_message(
    study: Path, capsys: pytest.CaptureFixture[str], name: str, change: Change, message: str
) -> None:
    change(study / name)
    refused(check(study, capsys), rf"  (splits\.file|{re.escape(name)}): .*({message})")


@pytest.mark.parametrize(("delimiter", "named"), [(";", "semicolons"), ("|", "vertical bars"), (" ", "spaces")])
def test_a_wrong_delimiter_of_splits(
    study: Path, capsys: pytest.CaptureFixture[str], delimiter: str, named: str
) -> None:
    text(lambda own: own.replace(",", delimiter))(study / "splits.csv")
    refused(check(study, capsys), rf"splits\.csv: expected commas or tabs .*found {named}.* in line 1: 'repeat.fold.")


@pytest.mark.parametrize("name", TABLES)
def test_a_header_alone_or_rows_alone(study: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    header, *rows = (study / name).read_text().splitlines(keepends=True)
    (study / name).write_text(header)
    refused(check(study, capsys), rf"{name}: expected .*found (none|only a header|0 rows)")
    (study / name).write_text("".join(rows))
    refused(check(study, capsys), rf"{name}: .*(header is missing|it seems to be missing|each column once)")


def edit(old: str, new: str) -> Change:
    """In the row of the fourth patient, which is line 5, or of everybody."""

    def change(own: str) -> str:
        assert old in own
        return own.replace(old, new)

    return text(change)


CASE = CASES[3]
WRONG_CELLS: dict[str, tuple[str, Change, str]] = {
    "decimal comma without quotes": (
        "clinical.csv",
        edit("160", "160,5"),
        "found 4 in line 5.* a number a decimal point",
    ),
    "expression with decimal commas": (
        "rna.csv",
        text(lambda own: own.replace(",", "\t").replace(".", ",")),
        r"line 2: patient TCGA-AA-0000-01A, gene A: .* found '1,5' \(a decimal comma: write 1.5\)",
    ),
    "empty expression": (
        "rna.csv",
        edit(f"{CASE}-01A,1.5", f"{CASE}-01A,"),
        f"line 5: patient {CASE}-01A, gene A: .*''",
    ),
    "sample without name": ("rna.csv", edit(f"{CASE}-01A", ""), "expected a patient in the first column, .* in line 5"),
    "nobody's outcome": ("clinical.csv", edit(CASE, ""), "column patient_id: expected a patient .* none in line 5"),
    "no endpoint": (
        "clinical.csv",
        edit("event", "status"),
        "expected column 'event', found patient_id, time_days, status",
    ),
    "slide of a case in lower case": ("slides.csv", edit(f",{CASE},", f",{CASE.lower()},"), f"line 5 .*: write {CASE}"),
    "slide of nobody": ("slides.csv", edit(f",{CASE},", ",,"), "line 5 .*: patient_id '' is missing"),
    "slide of a stranger": ("slides.csv", edit(f"f/{CASE}", "~nobody-of-that-name/x"), "line 5 .* does not exist"),
    "split of nobody": ("splits.csv", edit(f"0,1,{CASE}", "0,1,"), "column patient_id: .* none in line 37"),
    "another role": (
        "splits.csv",
        edit(f"0,1,{CASE},test", f"0,1,{CASE},val"),
        "expected role .* found val .* line 37",
    ),
    "set without genes": (
        "sets.csv",
        text(lambda own: re.sub(",[ABC]", ",", own)),
        "genes in each set, found none in S2",
    ),
}


@pytest.mark.parametrize(("name", "change", "message"), WRONG_CELLS.values(), ids=WRONG_CELLS)
def test_a_cell_that_does_not_fit_is_one_message(
    study: Path, capsys: pytest.CaptureFixture[str], name: str, change: Change, message: str
) -> None:
    change(study / name)
    refused(check(study, capsys), rf"{name}: (.|\n)*{message}")


def test_wrong_times_indicators_and_covariates_are_said_at_once(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = study / "clinical.csv"
    table = pd.read_csv(place, dtype=str)
    table.loc[0, "time_days"], table.loc[1, "event"] = "soon", "maybe"
    table.to_csv(place, index=False)
    said = check(study, capsys, covariates=["age", "stage"])
    assert "found 2 problems" in said
    assert "column time_days: expected a time of 0 or more, found 'soon'" in said
    assert "column event: expected" in said
    assert "'maybe'" in said
    assert re.search("expected columns? .*'age'", said)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"S1,x,A,B\n", "separated by tabs, in line 1, found 1 fields: 'S1,x,A,B'"),
        (b"S1\tx\tA\nM\xfcller\tx\tA\n", "the byte 0xFC in line 2, near 'Müller"),
    ],
)
def test_a_gmt_file_that_is_none(study: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str) -> None:
    (study / "sets.gmt").write_bytes(content)
    refused(check(study, capsys, gene_sets="sets.gmt"), rf"sets\.gmt: .*{message}")


class Touches:
    """A pickle of it writes a file where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", TABLES)
def test_a_pickle_is_never_opened(study: Path, capsys: pytest.CaptureFixture[str], name: str, protocol: int) -> None:
    (study / name).write_bytes(pickle.dumps(Touches(), protocol=protocol))
    expected = "found a Python pickle. It is not opened, for a pickle can run code" if protocol else "expected"
    refused(check(study, capsys), rf"{name}: .*{expected}")
    assert not (study / "executed").exists()


@pytest.mark.parametrize("suffix", ["pt", "pth", "npy", "h5"])
def test_a_pickle_of_features_is_never_opened(study: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    edit(f"f/{CASE}.h5", f"f/x.{suffix}")(study / "slides.csv")
    (study / "f" / f"x.{suffix}").write_bytes(pickle.dumps(Touches()))
    refused(check(study, capsys), f"{CASE}-DX1: expected .*, found (a Python pickle|[0-9]+ bytes that cannot be)")
    assert not (study / "executed").exists()


def test_a_file_that_unpacks_without_end_stops_at_the_limit(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = text_lines.Limits(lines=2000, characters=50_000)
    monkeypatch.setattr(text_lines, "SHEET", few)
    monkeypatch.setattr(text_lines, "MATRIX", few)
    for name in TABLES:
        content = (study / name).read_bytes()
        (study / name).write_bytes(gzip.compress(content + content.splitlines(keepends=True)[-1] * 1_000_000))
        assert (study / name).stat().st_size < 200_000
        refused(
            check(study, capsys), rf"{name}: expected at most [\d,]+ (lines|characters), found more.* stopped there"
        )
        (study / name).write_bytes(content)
    monkeypatch.setattr(text_lines, "MAX_LINE", 1000)
    for name in TABLES:
        content = (study / name).read_bytes()
        (study / name).write_bytes(gzip.compress(content + b"x" * 1_000_000))
        refused(
            check(study, capsys), rf"{name}: expected lines of at most 1,000 characters, found a longer one in line \d+"
        )
        (study / name).write_bytes(content)


def test_the_cohort_stage_says_the_same_and_writes_no_formula(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = dict(zip(("slides", "clinical", "expression", "gene_sets"), TABLES, strict=False)) | {
        "covariates": ["grade"]
    }
    sections = ["--inputs", json.dumps(inputs), "--config", "{}", "--bad-slides", "{}"]
    edit(",", ";")(study / "clinical.csv")
    assert cli.run(["cohort", "--out", "out", *sections]) == 2
    assert "clinical.csv: expected commas or tabs between the columns, found semicolons" in capsys.readouterr().err
    assert [path.name for path in (study / "out").iterdir()] == ["batches.tsv"]  # that of the sheet, which is whole
    text(lambda own: own.replace(";", ",").replace("event", "event,grade").replace(",1\n", ",1,=cmd|'/c calc'!A1\n"))(
        study / "clinical.csv"
    )
    text(lambda own: own.replace(",0\n", ",0,-1\n"))(study / "clinical.csv")
    edit(f",{CASE},", ",@SUM(1),")(study / "slides.csv")
    assert cli.run(["cohort", "--out", "out", *sections]) == 0
    cells = [cell for path in (study / "out").glob("*.tsv") for cell in re.split(r"[\t\n]", path.read_text())]
    assert {"'=cmd|'/c calc'!A1", "'-1", "'@SUM(1)"} <= set(cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
