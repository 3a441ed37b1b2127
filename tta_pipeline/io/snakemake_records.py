"""What Snakemake noted of a finished job, as far as it tells whether the job has to run again."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any


def has_changed(source: Path, *, since: Path, directory: Path) -> bool:
    """Whether a file that is newer than an output has other content than the job read that made the output.

    Snakemake keeps its notes under `directory`/.snakemake/metadata: names of the inputs, and checksums of those below
    `max-checksum-file-size`. Where they say nothing of the file's content, its time decides, as it does for Snakemake.

    Parameters
    ----------
    source
        An output of another stage, newer than `since`.
    since
        The output.
    directory
        Where Snakemake runs; both files lie below it.

    Returns
    -------
    False for a file that the job did not read, or that has the content of then.
    """
    noted = _note_of(since, directory)
    read = str(source.relative_to(directory))
    if read not in noted.get("input", [read]):
        return False
    checksum = (noted.get("input_checksums") or {}).get(read)
    return checksum is None or checksum != f"sha256:{_sha256(source, source.stat().st_mtime_ns)}"


def _note_of(output: Path, directory: Path) -> dict[str, Any]:
    name = base64.urlsafe_b64encode(str(output.relative_to(directory)).encode()).decode()
    note = directory / ".snakemake" / "metadata" / name
    return _read(note, note.stat().st_mtime_ns) if note.is_file() else {}


@cache
def _read(note: Path, _mtime_ns: int) -> dict[str, Any]:
    """A note; nothing where it is being written. A job may read hundreds of files, so each is read once."""
    try:
        noted: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return {}
    return noted


@cache
def _sha256(path: Path, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
