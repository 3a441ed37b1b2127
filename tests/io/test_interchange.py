"""Feature files of other tools are read as they write them, and ours open as theirs do."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tta_pipeline.errors import ArtifactError
from tta_pipeline.io import artifacts

N, WIDTH = 7, 12
FEATURES = np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float32)
COORDS = np.arange(2 * N).reshape(N, 2)


def trident(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=FEATURES, chunks=(1, WIDTH), maxshape=(None, WIDTH))
        file.create_dataset("coords", data=COORDS.astype("int64")).attrs.update(patch_size=256, patch_size_level0=512)


def clam_h5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=FEATURES, maxshape=(None, WIDTH))
        file.create_dataset("coords", data=COORDS.astype("int32"))


def with_leading_axis(path):
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = FEATURES[None], COORDS[None]


def stamp(path):
    """Half precision, coordinates in µm."""
    with h5py.File(path, "w") as file:
        file["feats"], file["coords"] = FEATURES.astype(np.float16), COORDS * 256.0
        file.attrs.update(unit="um", tile_size=256.0, extractor="ctranspath")


LAYOUTS = {
    "TRIDENT": ("a.h5", trident),
    "CLAM .h5": ("a.h5", clam_h5),
    "CLAM .pt": ("a.pt", lambda path: torch.save(torch.from_numpy(FEATURES), path)),
    "bfloat16 .pt": ("a.pt", lambda path: torch.save(torch.from_numpy(FEATURES).bfloat16(), path)),
    "dict .pt": (
        "a.pt",
        lambda path: torch.save({"features": torch.from_numpy(FEATURES), "coords": COORDS.tolist()}, path),
    ),
    "leading axis": ("a.h5", with_leading_axis),
    "STAMP": ("a.h5", stamp),
    "slide2vec .npy": ("a.npy", lambda path: np.save(path, FEATURES)),
}


@pytest.mark.parametrize(("name", "write"), LAYOUTS.values(), ids=LAYOUTS)
def test_features_of_other_tools(tmp_path, name, write):
    write(tmp_path / name)
    found = artifacts.read_features(tmp_path / name)
    assert np.issubdtype(found.dtype, np.floating)
    np.testing.assert_allclose(found, FEATURES, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_coordinates_of_other_tools(tmp_path, layout):
    name, write = LAYOUTS[layout]
    write(tmp_path / name)
    found = artifacts.read_coords(tmp_path / name, n_patches=N)
    if name != "a.h5":
        assert found is None
    else:
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, COORDS * (256 if layout == "STAMP" else 1))


@pytest.mark.parametrize(
    ("coords", "found"),
    [
        (COORDS[:-1], r"int64 \(6, 2\)"),
        (COORDS[:, :1], r"int64 \(7, 1\)"),
        (COORDS.ravel(), r"int64 \(14,\)"),
        (COORDS.astype("S4"), r"\|S4 \(7, 2\)"),
        (np.where(COORDS == 3, np.nan, COORDS), r"float64 \(7, 2\), some of them NaN or infinite"),
    ],
)
def test_coordinates_that_are_something_else(tmp_path, coords, found):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"], file["coords"] = FEATURES, coords
    with pytest.raises(
        ArtifactError, match=rf"a\.h5: expected coords of shape \(7, 2\), finite .*found {found}\. Make"
    ):
        artifacts.read_coords(tmp_path / "a.h5", n_patches=N)


def test_a_file_of_features_alone_has_no_coordinates(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = FEATURES
        file.create_group("coords")
    assert artifacts.read_coords(tmp_path / "a.h5", n_patches=N) is None


class Touches:
    """A pickle of it writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


PICKLED = {
    "plain": lambda path, it: path.write_bytes(pickle.dumps(it)),
    "of text": lambda path, it: path.write_bytes(pickle.dumps(it, protocol=0)),
    "by torch": lambda path, it: torch.save(it, path),
    "by an old torch": lambda path, it: torch.save(it, path, _use_new_zipfile_serialization=False),
    "by numpy": lambda path, it: np.save(path.open("wb"), np.array([it], dtype=object), allow_pickle=True),
}


@pytest.mark.parametrize("suffix", ["pt", "pth", "npy", "h5"])
@pytest.mark.parametrize("write", PICKLED.values(), ids=PICKLED)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_pickle_is_not_executed(tmp_path, suffix, write):
    written = tmp_path / "written"
    write(tmp_path / f"a.{suffix}", Touches(written))
    with pytest.raises(ArtifactError, match=rf"a\.{suffix}: expected") as caught:
        artifacts.read_features(tmp_path / f"a.{suffix}")
    assert not written.exists()
    assert "weights_only" not in str(caught.value), "torch's advice to open it all the same is no advice of ours"
    pickle.loads(pickle.dumps(Touches(written)))
    assert written.exists(), "it would have been seen"


def larger_than_its_file(path):
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 4)})
        file.write(bytes(64))


def coordinates_of_another_slide(path):
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = FEATURES, COORDS[:-1]


WRONG = {
    "objects .npy": ("a.npy", lambda path: np.save(path, np.array([{}])), "expected an array of numbers"),
    "text .npy": ("a.npy", lambda path: path.write_text("text"), "expected an array of numbers"),
    "one axis .npy": ("a.npy", lambda path: np.save(path, FEATURES[0]), r"of shape \(n, d\) .*found float32 \(12,\)"),
    "integers .npy": ("a.npy", lambda path: np.save(path, COORDS), "floating-point features"),
    "text .pt": ("a.pt", lambda path: path.write_text("text"), "expected a tensor as torch.save writes it"),
    "code .pt": (
        "a.pt",
        lambda path: torch.save(test_features_of_other_tools, path),
        "expected a tensor as torch.save",
    ),
    "dict .pt": (
        "a.pt",
        lambda path: torch.save({"x": torch.ones(2, 2)}, path),
        "or one named features or feats, found dict",
    ),
    "pickle .pt": (
        "a.pt",
        lambda path: path.write_bytes(pickle.dumps(FEATURES)),
        "found a Python pickle that holds something else than tensors; it is not opened, for a pickle can run code",
    ),
    "archive .npy": ("a.npy", lambda path: torch.save(torch.ones(2, 2), path), "found a file of PyTorch"),
    "empty .pt": ("a.pt", lambda path: path.touch(), "found an empty file"),
    "empty .npy": ("a.npy", lambda path: path.touch(), "found an empty file"),
    "endless .npy": ("a.npy", larger_than_its_file, "found one that cannot be read .*greater than file size"),
    "endless .pt": (
        "a.pt",
        lambda path: torch.save(torch.zeros(1).expand(10**9, 1000), path),
        r"every value in its place, found torch.strided of shape \(1000000000, 1000\) in a file of \d+ bytes",
    ),
    "sparse .pt": ("a.pt", lambda path: torch.save(torch.eye(9).to_sparse(), path), "found torch.sparse_coo"),
    "coordinates": ("a.h5", coordinates_of_another_slide, "one coordinate for each of the 7 features, found 6"),
    "missing": ("a.npy", lambda path: None, "expected features, found nothing"),
}


@pytest.mark.parametrize(("name", "write", "message"), WRONG.values(), ids=WRONG)
def test_files_that_hold_something_else(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(ArtifactError, match=message):
        artifacts.read_features(tmp_path / name)


@pytest.mark.parametrize("part", [0.3, 0.9])
@pytest.mark.parametrize("layout", ["TRIDENT", "CLAM .pt", "slide2vec .npy"])
def test_files_that_are_cut_off(tmp_path, layout, part):
    name, write = LAYOUTS[layout]
    write(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(part * len(content))])
    with pytest.raises(ArtifactError, match=r"a\.(h5|pt|npy): expected"):
        artifacts.read_features(tmp_path / name)


def test_our_files_open_as_those_of_clam_trident_and_mmp(tmp_path):
    """These tools read /features and /coords whole, and the size of a patch from the attributes of /coords."""
    grid = artifacts.Grid(coords=COORDS.astype(np.int32), attributes={"patch_size": 256, "patch_size_level0": 512})
    artifacts.write_features(tmp_path / "s1.h5", FEATURES.astype(np.float16), grid, options={}, inputs={})
    with h5py.File(tmp_path / "s1.h5", "r") as file:
        assert torch.from_numpy(file["features"][:]).shape == (N, WIDTH)
        np.testing.assert_array_equal(file["coords"][:], COORDS)
        assert (file["coords"].attrs["patch_size"], file["coords"].attrs["patch_size_level0"]) == (256, 512)


@pytest.mark.real
def test_a_real_bag_of_stamps_layout(real_data):
    found = artifacts.read_features(real_data / "bags" / "TCGA-AD-6964-01Z-00-DX1.h5")
    assert found.shape == (777, 512)
