"""Artifacts: what is written is read back, and what is damaged or foreign is an error that names the file."""

from dataclasses import fields
from functools import partial

import h5py
import numpy as np
import pytest

from tta_pipeline.errors import ArtifactError, SlideError
from tta_pipeline.io import artifacts

GENERATOR = np.random.default_rng(0)

GRID = artifacts.Grid(
    coords=np.array([[0, 512], [1024, 2_000_000_000]], dtype=np.int32),
    attributes={"patch_size": 256, "patch_size_level0": 512, "target_magnification": 20.0, "name": "Größe µm"},
)
PATHWAYS = artifacts.Pathways(
    patient_id=["TCGA-A", "TCGA-B"],
    genes=["TP53", "MYC", "β-catenin"],
    expression=GENERATOR.normal(size=(2, 3)).astype(np.float32),
    names=["one", "two"],
    indices=np.array([0, 2, 1, 2]),
    indptr=np.array([0, 2, 4]),
)
CHECKPOINT = artifacts.Checkpoint(
    weights={
        "encoder.weight": GENERATOR.normal(size=(3, 2)).astype(np.float32),
        "steps": np.array(7),
        "mask": np.array([True]),
    },
    scaler={"gene_mean": np.ones(3, dtype=np.float32)},
    baseline={"time_days": np.array([1.0, 9.0]), "cumulative_hazard": np.array([0.1, 0.4])},
    history={"loss": np.array([1.0, np.nan])},
    attributes={"name": "tta", "repeat": 0, "model": {"heads": 5, "rho": 0.25}, "sets": ["a", "b"]},
)
PREDICTIONS = artifacts.Predictions(
    patient_id=["TCGA-A", "TCGA-B"],
    risk=np.array([0.1, -3.0]),
    time_days=np.array([10.0, 20.5]),
    event=np.array([True, False]),
    survival=np.array([[0.9, np.nan], [0.5, 0.1]], dtype=np.float32),
    horizons_days=np.array([365.0, 1095.0]),
    curves=np.array([[1.0, 0.9, 0.2], [0.7, 0.5, np.nan]], dtype=np.float32),
    curve_days=np.array([1.0, 365.0, 2000.0]),
    exchanged={"histology": np.array([[0.2, -1.0]])},
    attributes={"name": "tta", "fold": 3},
)
KINDS = {
    "tiles": (partial(artifacts.write_tiles, quality={}), artifacts.read_tiles, GRID),
    "pathways": (artifacts.write_pathways, artifacts.read_pathways, PATHWAYS),
    "train": (artifacts.write_checkpoint, artifacts.read_checkpoint, CHECKPOINT),
    "evaluate": (artifacts.write_predictions, artifacts.read_predictions, PREDICTIONS),
}


def assert_same(found, expected):
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert_same(found[name], value)
    else:
        assert found == expected
        assert type(found) is type(expected)


def feature_file(path, data, name="features"):
    with h5py.File(path, "w") as file:
        file[name] = data
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(tmp_path, kind):
    write, read, value = KINDS[kind]
    write(tmp_path / "a.h5", value, options={}, inputs={})
    found = read(tmp_path / "a.h5")
    for field in fields(value):
        assert_same(getattr(found, field.name), getattr(value, field.name))


@pytest.mark.parametrize("kind", KINDS)
def test_no_reader_takes_another_kind(tmp_path, kind):
    write, _, value = KINDS[kind]
    write(tmp_path / "a.h5", value, options={}, inputs={})
    for other, (_, read, _) in KINDS.items():
        if other != kind:
            with pytest.raises(ArtifactError, match=f"kind '{other}', found '{kind}'"):
                read(tmp_path / "a.h5")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_artifact_has_the_same_bytes(tmp_path, kind):
    write, _, value = KINDS[kind]
    for name in ("a", "b"):
        write(tmp_path / f"{name}.h5", value, options={"x": 1}, inputs={})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_in_mid_write_leaves_nothing(tmp_path, kind):
    write, _, value = KINDS[kind]
    broken = {field.name: getattr(value, field.name) for field in fields(value)}
    broken[list(broken)[-1]] = object()  # the last thing written
    with pytest.raises((TypeError, AttributeError)):
        write(tmp_path / "a.h5", type(value)(**broken), options={}, inputs={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.05, 0.4, 0.8, 0.98])
def test_a_cut_off_artifact_is_an_error(tmp_path, kind, part):
    write, read, value = KINDS[kind]
    path = tmp_path / "a.h5"
    write(path, value, options={}, inputs={})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ArtifactError, match=r"a\.h5: expected a whole HDF5 file"):
        read(path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_artifact_without_one_of_its_datasets_is_an_error(tmp_path, kind):
    write, read, value = KINDS[kind]
    path = tmp_path / "a.h5"
    write(path, value, options={}, inputs={})
    with h5py.File(path, "r+") as file:
        del file[sorted(file)[0]]
    with pytest.raises(ArtifactError, match=r"a\.h5: expected .*Make it again: snakemake --forcerun " + kind):
        read(path)


def test_members_of_pathways():
    assert [members.tolist() for members in PATHWAYS.members()] == [[0, 2], [1, 2]]


def test_empty_groups_and_no_patients_survive(tmp_path):
    empty = artifacts.Checkpoint({}, {}, {}, {}, {})
    artifacts.write_checkpoint(tmp_path / "a.h5", empty, options={}, inputs={})
    assert artifacts.read_checkpoint(tmp_path / "a.h5") == empty
    curve = np.empty((0, 2), "f4"), np.ones(2)
    none = artifacts.Predictions([], np.empty(0), np.empty(0), np.empty(0, bool), *curve, *curve)
    artifacts.write_predictions(tmp_path / "b.h5", none, options={}, inputs={})
    assert artifacts.read_predictions(tmp_path / "b.h5").patient_id == []


def test_features_are_float16_and_keep_their_coordinates(tmp_path):
    values = GENERATOR.normal(size=(2, 5))
    artifacts.write_features(tmp_path / "a.h5", values, GRID, options={}, inputs={})
    found = artifacts.read_features(tmp_path / "a.h5")
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, values.astype(np.float16))
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["coords"][()], GRID.coords)
        assert file["coords"].attrs["patch_size_level0"] == 512


def test_features_without_their_coordinates_are_our_own_bug(tmp_path):
    with pytest.raises(ValueError, match="3 features for 2 coordinates"):
        artifacts.write_features(tmp_path / "a.h5", np.ones((3, 5)), GRID, options={}, inputs={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_ready_made_features_keep_their_type(tmp_path, dtype):
    path = feature_file(tmp_path / "a.h5", np.ones((3, 4), dtype=dtype))
    assert artifacts.read_features(path).dtype == dtype


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (np.ones((2, 3)), "feat", r"a dataset named features or feats, found \['feat'\]"),
        (np.ones((2, 2, 3)), "features", r"of shape \(n, d\) .*found float64 \(2, 2, 3\)"),
        (np.ones((2, 3), dtype=int), "features", r"floating-point features .*found int64 \(2, 3\)"),
        (np.ones((0, 3)), "features", r"at least one row, found float64 \(0, 3\)"),
        (np.array([[1.0, np.nan], [1, 2], [np.inf, 0]]), "features", "NaN or infinity in 2 of 3 rows"),
        (np.ones((2, 3)), "features/inner", "a dataset named features or feats"),
    ],
)
def test_ready_made_features_that_cannot_be_used(tmp_path, data, name, message):
    path = feature_file(tmp_path / "a.h5", data, name)
    with pytest.raises(ArtifactError, match=message):
        artifacts.read_features(path)


@pytest.mark.parametrize("bad", [1e6, np.nan, -np.inf])
def test_features_that_float16_cannot_hold_are_an_error(tmp_path, bad):
    values = np.ones((2, 5), dtype=np.float32)
    values[1, 3] = bad
    with pytest.raises(SlideError, match=r"within ±65504, the range of float16, found otherwise in 1 of 2 rows"):
        artifacts.write_features(tmp_path / "a.h5", values, GRID, options={}, inputs={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_damaged_chunk_is_an_error(tmp_path, keep):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=GENERATOR.normal(size=(4000, 8)), compression="gzip", chunks=(500, 8))
    content = bytearray(path.read_bytes())
    start = int(keep * len(content)) - 64
    content[start : start + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"/features cannot be read .*: the file is damaged"):
        artifacts.read_features(path)


@pytest.mark.real
def test_real_features_are_read_or_refused_with_their_reason(real_data):
    files = sorted((real_data / "stad" / "features").glob("*.h5"))
    refused = []
    for path in files[:60]:
        try:
            assert artifacts.read_features(path).shape == (4, 77)
        except ArtifactError as error:
            refused.append(str(error))
    assert len(files) == 407
    assert all("NaN or infinity" in message for message in refused)
