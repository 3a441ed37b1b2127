"""Every bad table that a user can bring, through `tta-pipeline check`: one message that says where and what to do."""

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.slides import glass, with_tissue, write_slide
from tta_pipeline import cli
from tta_pipeline.io import text_lines
from tta_pipeline.io.text_lines import Limits

NAMES = [f"TCGA-BR-00{number:02d}" for number in range(40)]
FILES = {
    "slides.csv": [f"{name}-01Z-00-DX1,{name},{name}.svs,0.5" for name in NAMES],
    "clinical.csv": [f"{name},{400 + 10 * number},{int(number % 4 == 0)}" for number, name in enumerate(NAMES)],
    "rna.csv": [f"{name},1.5,2.25,3.75" for name in NAMES],
    "sets.csv": ["A,B", "B,C", "C,A"],
}
HEADERS = {
    "slides.csv": "slide_id,patient_id,path,mpp",
    "clinical.csv": "patient_id,time_days,event",
    "rna.csv": "id,A,B,C",
    "sets.csv": "S1,S2",
}
TABLES = {name: "\n".join([HEADERS[name], *rows]) + "\n" for name, rows in FILES.items()}
Said = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """What `check` says of a study in which some tables are replaced; "" where it finds nothing wrong."""
    monkeypatch.chdir(tmp_path)
    pixels = with_tissue(glass(width=256, height=256), rows=slice(64, 192), columns=slice(64, 192))
    write_slide(tmp_path / "one.svs", pixels)
    for name in NAMES:
        (tmp_path / f"{name}.svs").symlink_to("one.svs")

    def run(tables: dict[str, str | bytes], **inputs: object) -> str:
        for name, content in {**TABLES, **tables}.items():
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        paths = dict(zip(("slides", "clinical", "expression", "gene_sets"), TABLES, strict=True))
        study = {"inputs": {**paths, **inputs}, "splits": {"folds": 2, "validation_fraction": 0}}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
        code = cli.run(["check", "--study", "study.yaml"])
        message = capsys.readouterr().err
        errors = message[message.index("error: ") :] if "error: " in message else ""
        assert bool(errors) == (code != 0)
        return errors

    return run


def alter(name: str, old: str, new: str) -> dict[str, str | bytes]:
    assert old in TABLES[name]
    return {name: TABLES[name].replace(old, new)}


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: text.replace(",", "\t").encode(),
    ],
    ids=["byte-order mark", "Windows", "old Mac", "gzip without suffix", "tabs"],
)
def test_tables_in_another_dress_are_read(said: Said, dress: Callable[[str], bytes]) -> None:
    assert said({name: dress(text) for name, text in TABLES.items()}) == ""


@pytest.mark.parametrize(
    ("name", "delimiter", "named"),
    [
        *(
            (name, delimiter, named)
            for name in TABLES
            for delimiter, named in ((";", "semicolons"), ("|", "vertical bars"))
        ),
        *((name, " ", "spaces") for name in TABLES if name != "sets.csv"),  # two words may name one set
    ],
)
def test_a_wrong_delimiter_is_named(said: Said, name: str, delimiter: str, named: str) -> None:
    message = said({name: TABLES[name].replace(",", delimiter)})
    assert f"{name}: expected commas or tabs between the columns, found {named}" in message
    assert "in line 1: " in message


def test_delimiters_that_are_mixed(said: Said) -> None:
    rows = TABLES["clinical.csv"].split("\n", 1)
    message = said({"clinical.csv": f"{rows[0]}\n" + rows[1].replace(",", "\t")})
    assert "found 1 in line 2. There are tabs between its cells, but commas in the header" in message
    message = said({"clinical.csv": TABLES["clinical.csv"].replace(",", "\t").replace("time_days", "time_days, days")})
    assert "expected column 'time_days', found patient_id, time_days, days, event" in message


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            alter("clinical.csv", ",410,", ',"410,5",'),
            "found '410,5' (a decimal comma: write 410.5) of patient TCGA-BR-0001 ",
        ),
        (
            alter("slides.csv", "BR-0003.svs,0.5", 'BR-0003.svs,"0,5"'),
            "line 5 (slide TCGA-BR-0003-01Z-00-DX1): mpp '0,5' (a decimal",
        ),
        (
            alter("rna.csv", "2.25", '"2,25"'),
            "line 2: patient TCGA-BR-0000, gene B: expected a finite number, found '2,25' (a dec",
        ),
    ],
    ids=["times", "mpp", "expression"],
)
def test_decimal_commas(said: Said, tables: dict[str, str | bytes], message: str) -> None:
    assert message in said(tables)


def archive(kind: str) -> bytes:
    content = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=content, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.csv"))
    else:
        with zipfile.ZipFile(content, "w") as zipped:
            zipped.writestr("[Content_Types].xml" if kind == "xlsx" else "a.csv", "id,A\n")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLES["clinical.csv"].encode("utf-16"), "found text in UTF-16. Save it as UTF-8"),
        (TABLES["clinical.csv"].replace("BR-0003", "Bär").encode("latin-1"), "found the byte 0xE4 in line 5, near"),
        (TABLES["clinical.csv"].replace("410", "4\x0010"), "found a NUL byte in line 3"),
        (archive("xlsx"), "found an Excel workbook (.xlsx). Save its sheet as CSV UTF-8."),
        (archive("zip"), "found a ZIP archive. Unpack it"),
        (archive("tar"), "found a tar archive. Unpack it"),
        (gzip.compress(TABLES["clinical.csv"].encode())[:-9], "expected a whole gzip file, found damage"),
        (b"<!DOCTYPE html><html>log in</html>", "found a web page. Fetch the file again"),
        ("", "expected a table with a header, found an empty file"),
        ("patient_id,time_days,event\n", "expected rows below the header, found none"),
        (TABLES["clinical.csv"].split("\n", 1)[1], "perhaps the header is missing"),
        (
            "Table 1,,\n" + TABLES["clinical.csv"],
            "expected a name over each column, found none over columns 2, 3 in line 1",
        ),
    ],
)
def test_files_that_are_no_such_table(said: Said, content: str | bytes, message: str) -> None:
    found = said({"clinical.csv": content})
    assert "clinical.csv: expected" in found
    assert message in found


class _Payload:
    """Makes a file where somebody unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return open, ("executed", "w")


@pytest.mark.parametrize("name", ["clinical.csv", "rna.csv", "sets.csv", "slides.csv"])
def test_a_pickle_is_not_opened(said: Said, tmp_path: Path, name: str) -> None:
    assert "found a Python pickle. It is not opened" in said({name: pickle.dumps(_Payload())})
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            alter("clinical.csv", "time_days,event", "event,event"),
            "expected each column once, found event more than once in line 1",
        ),
        (alter("rna.csv", "TCGA-BR-0003,1.5", "TCGA-BR-0003,1.5,9"), "found 5 in line 5"),
        (alter("clinical.csv", "TCGA", "tcga"), "in lower case: line 2: tcga-BR-0000"),
        (
            alter("clinical.csv", "BR-0003,", "BR-0003-01Z-00-DX1,"),
            "line 5: TCGA-BR-0003-01Z-00-DX1. Name the column of cases",
        ),
        (
            alter("slides.csv", "DX1,TCGA-BR-0003,", "DX1,TCGA-BR-0003-01Z-00-DX1,"),
            "is the barcode of a sample or slide: write TCGA-BR-0003",
        ),
        (
            alter("clinical.csv", "event\n", "event\nTCGA-BR-0001,9,1\n"),
            "TCGA-BR-0001: 9 with 1 in line 2 and 410 with 0 in line 4",
        ),
        (
            alter("clinical.csv", ",410,", ",-410,"),
            "expected a time of 0 or more, found '-410' of patient TCGA-BR-0001 in line 3",
        ),
        (
            alter("clinical.csv", ",410,0", ",410,2"),
            "column event: expected 0 or 1, found '2' of patient TCGA-BR-0001 in line 3",
        ),
        (
            alter("clinical.csv", ",410,0", ",410,Alive"),
            "found 'Alive' of patient TCGA-BR-0001 in line 3. Write 1 where the event",
        ),
        (
            alter("sets.csv", "A,B", "1-Mar,B"),
            "found dates into which a spreadsheet has turned them: 1-Mar (set S1, line 2)",
        ),
        (
            alter("slides.csv", "TCGA-BR-0003.svs", "../../x.svs"),
            "found paths that lead out of it: line 5: path ../../x.svs",
        ),
        (alter("rna.csv", "id,A,B,C\n", ""), "expected names over the columns, found numbers: 1.5, 2.25, 3.75"),
        ({"rna.csv": "id,A,B\n"}, "rna.csv: expected a matrix of samples and genes, found 0 rows of 2 values"),
        ({"slides.csv": "slide_id,patient_id,path\n"}, "expected at least one slide, found only a header"),
    ],
)
def test_rows_and_cells_that_cannot_be(said: Said, tables: dict[str, str | bytes], message: str) -> None:
    assert message in said(tables)


def test_times_of_another_unit_and_endpoints_that_are_absent(said: Said) -> None:
    months = [f"{name},{12 + number},{int(number % 4 == 0)}" for number, name in enumerate(NAMES)]
    message = said({"clinical.csv": "\n".join([HEADERS["clinical.csv"], *months])})
    assert "expected days (inputs.time_unit), found 51 as the longest of 40 times, as if they were months" in message
    assert "found 790 as the longest of 40 times, as if they were days" in said({}, time_unit="months")
    assert "expected the endpoint DSS (inputs.endpoint)" in said({}, endpoint="DSS")


def test_an_empty_time_leaves_its_patient_out(said: Said) -> None:
    assert said(alter("clinical.csv", ",410,", ",,")) == ""


def test_a_gmt_line_of_one_field(said: Said) -> None:
    message = said({"sets.gmt": "S0\tx\tA\nS1\n"}, gene_sets="sets.gmt")
    assert (
        "sets.gmt: expected name, description and genes, separated by tabs, in line 2, found 1 fields: 'S1'" in message
    )


def test_a_small_file_that_unpacks_to_a_very_large_one(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six million lines in some kilobytes: reading stops at the limit, of a sheet (here a lower one) and a matrix."""
    monkeypatch.setattr(text_lines, "SHEET", Limits(lines=1000, characters=1 << 28))
    limits = {"clinical.csv": "at most 1,000 lines", "rna.csv": "at most 1,000,000 lines"}
    for name, limit in limits.items():
        block = gzip.compress((TABLES[name].splitlines()[1] + "\n").encode() * 100_000)
        bomb = gzip.compress(f"{HEADERS[name]}\n".encode()) + block * 60
        assert f"{name}: expected {limit}, found more; reading stopped there" in said({name: bomb})


def test_a_line_without_end(said: Said) -> None:
    bomb = gzip.compress(b"patient_id,time_days,event\n" + b"x" * 40_000_000)
    assert "expected lines of at most 16,777,216 characters, found a longer one in line 2" in said(
        {"clinical.csv": bomb}
    )
