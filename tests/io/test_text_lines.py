"""Lines within limits: every line is given, and no file is read beyond what is stated."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tta_pipeline.errors import InputError
from tta_pipeline.io import text_lines
from tta_pipeline.io.text_lines import Limits, read_lines

WIDE = Limits(lines=1000, characters=100_000)


def lines_of(data: bytes, *, limits: Limits = WIDE) -> list[str]:
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="surrogateescape", newline="")
    return list(read_lines(text, path=Path("t.csv"), limits=limits))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_text_within_the_limits_comes_whole(text: str) -> None:
    assert "".join(lines_of(text.encode())) == text


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_what_is_at_the_limit_is_read_and_what_is_beyond_is_not(n: int, lines: int, length: int) -> None:
    data = (b"x" * length + b"\n") * n
    limits = Limits(lines=lines, characters=400)
    if n <= lines and len(data) <= 400:
        assert len(lines_of(data, limits=limits)) == n
    else:
        with pytest.raises(InputError, match=r"t\.csv: expected at most (\d+) (lines|characters), found more"):
            lines_of(data, limits=limits)


def test_the_manual_states_the_limits() -> None:
    manual = " ".join((ROOT / "config" / "README.md").read_text(encoding="utf-8").split())
    sheet, matrix = text_lines.SHEET, text_lines.MATRIX
    assert f"{sheet.lines:,} lines and {sheet.characters:,} characters of a sheet" in manual
    assert f"{matrix.lines:,} lines of an expression matrix" in manual
    assert f"{text_lines.MAX_LINE:,} characters of a line" in manual


def test_a_line_of_gigabytes_is_read_no_further_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "MAX_LINE", 10)
    assert lines_of(b"123456789\nb") == ["123456789\n", "b"]

    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            self.given += len(buffer)
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    source = Endless()
    text = io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8", newline="")
    with pytest.raises(InputError, match="expected lines of at most 10 characters, found a longer one in line 1"):
        list(read_lines(text, path=Path("t.csv"), limits=WIDE))
    assert source.given < 100_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\nc\0,d\n", "a NUL byte in line 2"),
        ("a,b\n".encode("utf-16-le"), r"a NUL byte in line 1: .* or is in UTF-16"),
        ("a,b\n\nJos\u00e9,M\u00fcller\n".encode("latin-1"), "the byte 0xE9 in line 3, near 'José,Müller'.*Latin-1"),
        ("a,b\n“x”,d\n".encode("cp1252"), "the byte 0x93 in line 2, near '“x”,d'"),
        (b"\x82\x01\x02\xff", "byte 0x82 in line 1, among others that are no text"),
    ],
)
def test_what_is_no_utf8_is_named_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"t\.csv: expected UTF-8 text, found {message}"):
        lines_of(data)
