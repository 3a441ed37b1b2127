"""What stands where text is expected: named by its first bytes, whatever its name."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import openpyxl
import pandas as pd
import pytest
import torch

from tta_pipeline.io.file_kinds import HEAD_BYTES, kind_of


def excel(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["patient_id"])
    book.save(path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clinical.csv", "a,b\n")


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("clinical.csv")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"a,b\n"))


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = np.ones(3)


KINDS = {
    "Excel": (excel, "an Excel workbook"),
    "ZIP": (zipped, "a ZIP archive"),
    "tar": (tarred, "a tar archive"),
    "PyTorch": (lambda path: torch.save(torch.ones(2), path), "a file of PyTorch"),
    "NumPy": (lambda path: np.save(path.open("wb"), np.ones(2)), "a NumPy array"),
    "HDF5": (hdf5, "an HDF5 file"),
    "Parquet": (lambda path: pd.DataFrame({"a": [1]}).to_parquet(path), "a Parquet file"),
    "UTF-16": (lambda path: path.write_text("a,b\n", encoding="utf-16"), "text in UTF-16"),
    "UTF-32": (lambda path: path.write_text("a,b\n", encoding="utf-32"), "text in UTF-32"),
    "web page": (lambda path: path.write_text("\n<!DOCTYPE HTML><html>"), "a web page"),
    "Git LFS": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS"),
} | {
    f"pickle {protocol}": (
        lambda path, protocol=protocol: path.write_bytes(pickle.dumps({"a": [1]}, protocol=protocol)),
        "a Python pickle",
    )
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
}


@pytest.mark.parametrize(("write", "name"), KINDS.values(), ids=KINDS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_files_as_their_own_libraries_write_them(tmp_path: Path, write, name: str) -> None:
    write(tmp_path / "table.csv")
    found = kind_of((tmp_path / "table.csv").read_bytes()[:HEAD_BYTES])
    assert found is not None
    assert found[0].startswith(name)


@pytest.mark.parametrize("text", ["", "a,b\n", "\ufeffa,b\n", "PK,b\n", "é,b\n", "RD,X\n", "version,b\n", "<b>,c\n"])
def test_text_is_none_of_them(text: str) -> None:
    assert kind_of(text.encode()) is None
