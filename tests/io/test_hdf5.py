"""HDF5 files are whole or absent: interrupted writes, cut-off files, foreign files."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tta_pipeline import __version__
from tta_pipeline.errors import ArtifactError
from tta_pipeline.io import hdf5


def write(path, *, kind="tiles", value=1.0, options=None, inputs=None):
    with hdf5.create(path, kind=kind, options=options or {}, inputs=inputs or {}) as file:
        file.create_dataset("x", data=np.full(5000, value))
    return path


def test_an_artifact_says_what_it_is_and_where_it_came_from(tmp_path):
    source = tmp_path / "source.tsv"
    source.write_text("a\tb\n")
    path = write(tmp_path / "new" / "folder" / "a.h5", options={"mpp": 0.5, "device": "auto"}, inputs={"sheet": source})
    origin = hdf5.read_origin(path)
    assert origin.kind == "tiles"
    assert origin.version == __version__
    assert json.loads(origin.options) == {"mpp": 0.5, "device": "auto"}
    assert origin.inputs == {"sheet": hdf5.fingerprint(source)}
    with hdf5.open_artifact(path, kind="tiles") as file:
        np.testing.assert_array_equal(file["x"][()], 1.0)
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_same_content_gives_the_same_bytes(tmp_path):
    first, second = (
        write(tmp_path / "a.h5", options={"b": 1, "a": 2}),
        write(tmp_path / "b.h5", options={"a": 2, "b": 1}),
    )
    assert first.read_bytes() == second.read_bytes()


def write_half(path, *, error):
    with hdf5.create(path, kind="tiles", options={}, inputs={}) as file:
        file.create_dataset("x", data=np.ones(1000))
        raise error


class Stop(BaseException):
    """An interruption that is no Exception, like Ctrl-C."""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Stop])
def test_an_interrupted_write_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        write_half(tmp_path / "a.h5", error=error)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_keeps_the_file_that_was_there(tmp_path):
    path = write(tmp_path / "a.h5", value=7.0)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_half(path, error=KeyboardInterrupt)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_stands_under_the_name_while_it_is_written(tmp_path):
    path = tmp_path / "a.h5"
    with hdf5.create(path, kind="tiles", options={}, inputs={}) as file:
        file.create_dataset("x", data=np.ones(10))
        assert not path.exists()
    assert path.is_file()


def test_what_a_killed_job_left_behind_goes_and_the_folder_is_listed_once(tmp_path, monkeypatch):
    own, other = tmp_path / ".a.abcd1234.tmp", tmp_path / ".b.abcd1234.tmp"
    for leftover in (own, other):
        leftover.touch()
    listed = []
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: listed.append(folder) or glob(folder, pattern))
    write(tmp_path / "a.h5")
    assert not own.exists()
    assert other.exists()
    for name in ("b", "c"):
        write(tmp_path / f"{name}.h5")
    assert not other.exists()
    assert listed == [tmp_path]


def test_an_input_that_is_missing_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "a.h5", inputs={"sheet": tmp_path / "absent"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.9999])
def test_a_file_cut_off_anywhere_is_an_error_that_names_it(tmp_path, part):
    path = write(tmp_path / "a.h5")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ArtifactError, match=r"a\.h5: expected a whole HDF5 file, found \d+ bytes"):
        hdf5.read_origin(path)


def test_another_kind_of_file(tmp_path):
    text = tmp_path / "a.h5"
    text.write_text("patient_id\trisk\n" * 100)
    with pytest.raises(ArtifactError, match="delete it and run its stage again"), hdf5.open_hdf5(text):
        pass
    with pytest.raises(ArtifactError, match="found nothing"), hdf5.open_hdf5(tmp_path / "absent.h5"):
        pass
    with pytest.raises(ArtifactError, match="found nothing"), hdf5.open_hdf5(tmp_path):
        pass


def test_another_kind_of_artifact(tmp_path):
    path = write(tmp_path / "a.h5", kind="tiles")
    with (
        pytest.raises(ArtifactError, match="kind 'features', found 'tiles'"),
        hdf5.open_artifact(path, kind="features"),
    ):
        pass


def test_a_foreign_hdf5_file(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["features"] = np.ones((2, 3))
    with pytest.raises(ArtifactError, match="kind 'tiles', found 'None'"), hdf5.open_artifact(path, kind="tiles"):
        pass
    with pytest.raises(ArtifactError, match="found no root attributes"):
        hdf5.read_origin(path)


def test_another_schema_version(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 99
    message = "schema version 99, this is version 1.*--forcerun tiles"
    with pytest.raises(ArtifactError, match=message), hdf5.open_artifact(path, kind="tiles"):
        pass


MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 1000, MIB - 1, MIB, MIB + 1, 2 * MIB - 1, 2 * MIB])
def test_small_files_are_hashed_whole(tmp_path, size):
    content = np.random.default_rng(size).bytes(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    assert hdf5.fingerprint(path) == hashlib.sha256(str(size).encode() + content).hexdigest()


def test_a_fingerprint_sees_size_start_and_end(tmp_path):
    content = bytearray(3 * MIB)
    path = tmp_path / "file"

    def of(data):
        path.write_bytes(data)
        return hdf5.fingerprint(path)

    plain = of(content)
    for position, seen in ((0, True), (MIB - 1, True), (MIB + MIB // 2, False), (2 * MIB, True), (3 * MIB - 1, True)):
        changed = bytearray(content)
        changed[position] = 1
        assert (of(changed) != plain) == seen, position
    assert of(content + b"\0") != plain


def test_a_fingerprint_of_a_folder_sees_every_file_and_its_name(tmp_path):
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "a").write_text("1")
    (folder / "inner" / "b").write_text("2")
    seen = [hdf5.fingerprint(folder)]
    assert hdf5.fingerprint(folder) == seen[0]
    (folder / "inner" / "b").write_text("3")
    seen.append(hdf5.fingerprint(folder))
    (folder / "inner" / "b").rename(folder / "b")
    seen.append(hdf5.fingerprint(folder))
    assert len(set(seen)) == 3
