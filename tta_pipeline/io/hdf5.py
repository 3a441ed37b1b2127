"""HDF5 files that are whole or absent, and say what they are and where they came from."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py

from tta_pipeline import __version__
from tta_pipeline.errors import ArtifactError

SCHEMA_VERSION = 1
_EDGE_BYTES = 1 << 20


@dataclass(frozen=True)
class Origin:
    """Root attributes of an artifact: `options` as JSON, `inputs` as name -> fingerprint."""

    kind: str
    version: str
    options: str
    inputs: dict[str, str]


def fingerprint(path: Path) -> str:
    """Fingerprint of a file: sha256 of its size, its first and its last MiB; of a folder, that of all its files.

    Reads at most 2 MiB a file, so that a slide of gigabytes costs nothing; files below 2 MiB are hashed whole.
    """
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        named = [(str(each.relative_to(path)), fingerprint(each)) for each in files]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_EDGE_BYTES))
        file.seek(max(_EDGE_BYTES, size - _EDGE_BYTES))
        digest.update(file.read())
    return digest.hexdigest()


@contextmanager
def create(path: Path, *, kind: str, options: Mapping[str, Any], inputs: Mapping[str, Path]) -> Iterator[h5py.File]:
    """Open a new artifact for writing; it appears under `path` only when the block ends without an error.

    Parameters
    ----------
    path
        Final name. Its folder is made if needed.
    kind
        What the file is ("tiles", "features", ...); `open_artifact` compares it.
    options
        The stage's own config section, JSON-serialisable.
    inputs
        Name -> file that the artifact was made from; their fingerprints are stored.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs["kind"] = kind
            file.attrs["schema_version"] = SCHEMA_VERSION
            file.attrs["tta_version"] = __version__
            file.attrs["options"] = json.dumps(options, sort_keys=True, default=str)
            file.attrs["inputs"] = json.dumps({name: fingerprint(source) for name, source in sorted(inputs.items())})
            yield file
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Temporary files of this artifact, which a killed job left behind: one job at a time writes an artifact."""
    name = re.compile(rf"\.{re.escape(path.stem)}\.[a-z0-9_]{{8}}\.tmp")
    for leftover in _temporary_files(path.parent.absolute()):
        if name.fullmatch(leftover.name):
            leftover.unlink(missing_ok=True)


@cache
def _temporary_files(folder: Path) -> list[Path]:
    """Those that are there when this process first writes to a folder: that of 30,000 slides is listed once a job."""
    return list(folder.glob(".*.tmp"))


@contextmanager
def open_artifact(path: Path, *, kind: str) -> Iterator[h5py.File]:
    """Open an artifact for reading and check that it is whole and of the expected kind.

    Raises
    ------
    ArtifactError
        The file is missing, is no whole HDF5 file, is of another kind or schema version, or lacks a part that is read.
    """
    with open_hdf5(path) as file:
        found = file.attrs.get("kind")
        if found != kind:
            raise ArtifactError(
                f"{path}: expected an artifact of kind '{kind}', found '{found}'. Check the path given."
            )
        version = int(file.attrs.get("schema_version", 0))
        if version != SCHEMA_VERSION:
            raise ArtifactError(
                f"{path}: written with schema version {version}, this is version {SCHEMA_VERSION}. "
                f"Make it again: snakemake --forcerun {kind}"
            )
        try:
            yield file
        except (KeyError, OSError) as error:
            raise ArtifactError(
                f"{path}: expected all parts of an artifact of kind '{kind}', found one missing or damaged ({error}). "
                f"Make it again: snakemake --forcerun {kind}"
            ) from error


def read_origin(path: Path) -> Origin:
    """Who wrote an artifact, with which options, from which files.

    Raises
    ------
    ArtifactError
        The file is missing, damaged, or no artifact of the pipeline.
    """
    with open_hdf5(path) as file:
        missing = [name for name in ("kind", "tta_version", "options", "inputs") if name not in file.attrs]
        if missing:
            raise ArtifactError(f"{path}: expected an artifact of the pipeline, found no root attributes {missing}.")
        kind, version, options, inputs = (
            str(file.attrs[name]) for name in ("kind", "tta_version", "options", "inputs")
        )
    return Origin(kind=kind, version=version, options=options, inputs=json.loads(inputs))


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open any HDF5 file for reading; a missing or cut-off file is an ArtifactError that names it."""
    if not path.is_file():
        raise ArtifactError(f"{path}: expected an HDF5 file, found nothing. Run the stage that writes it.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ArtifactError(
            f"{path}: expected a whole HDF5 file, found {path.stat().st_size} bytes that cannot be opened ({error}). "
            "The file is cut off or damaged: delete it and run its stage again, or restore it from its source."
        ) from error
    with file:
        yield file
