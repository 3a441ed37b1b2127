"""Lines of a text file, one at a time and within limits, so that no file fills the memory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TextIO

from tta_pipeline.errors import InputError


@dataclass(frozen=True)
class Limits:
    """How much of a file is read at most, unpacked."""

    lines: int
    characters: int


# A sheet is kept whole in memory; of a matrix only labels and wanted cells are.
SHEET = Limits(lines=5_000_000, characters=1 << 28)
MATRIX = Limits(lines=1_000_000, characters=1 << 36)
MAX_LINE = 1 << 24
# What `surrogateescape` makes of a byte that is no UTF-8.
_UNDECODED = re.compile("[\udc80-\udcff]")
_AROUND = 12


def read_lines(text: TextIO, *, path: Path, limits: Limits) -> Iterator[str]:
    """Lines with their ends, of a text that was opened with the error handler `surrogateescape`.

    Raises
    ------
    InputError
        The file is larger than its limits, a line is longer than `MAX_LINE`, or it holds what is no UTF-8 text.
    """
    characters = 0
    for number in count(1):
        line = text.readline(MAX_LINE + 1)
        if not line:
            return
        characters += len(line)
        if len(line) > MAX_LINE or number > limits.lines or characters > limits.characters:
            raise _too_large(line, number=number, path=path, limits=limits)
        if "\0" in line:
            raise InputError(
                f"{path}: expected UTF-8 text, found a NUL byte in line {number}: it is no text, is damaged, or is in "
                "UTF-16. Save it as UTF-8, or fetch the file again."
            )
        if not line.isascii() and (odd := _UNDECODED.search(line)):
            raise _undecoded(line, at=odd.start(), number=number, path=path)
        yield line


def _too_large(line: str, *, number: int, path: Path, limits: Limits) -> InputError:
    if len(line) > MAX_LINE:
        wanted = f"lines of at most {MAX_LINE:,} characters, found a longer one in line {number}"
    elif number > limits.lines:
        wanted = f"at most {limits.lines:,} lines, found more"
    else:
        wanted = f"at most {limits.characters:,} characters, found more in line {number}"
    return InputError(f"{path}: expected {wanted}; reading stopped there. Check that this is the file that you mean.")


def _undecoded(line: str, *, at: int, number: int, path: Path) -> InputError:
    near = line[max(0, at - _AROUND) : at + _AROUND].strip()
    byte = ord(line[at]) - 0xDC00
    as_latin = near.encode("utf-8", errors="surrogateescape").decode("cp1252", errors="replace")
    if not as_latin.replace("\t", " ").isprintable():
        return InputError(
            f"{path}: expected UTF-8 text, found byte 0x{byte:02X} in line {number}, among others that are no text. "
            "Fetch the file again, or check its path in the config."
        )
    return InputError(
        f"{path}: expected UTF-8 text, found the byte 0x{byte:02X} in line {number}, near {as_latin!r} if it is read "
        "as Latin-1 (Windows-1252). Save the file as UTF-8; if that text makes no sense, fetch the file again."
    )
