"""What the pipeline's HDF5 files hold. The only module that names an HDF5 dataset."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import ArtifactError, SlideError
from tta_pipeline.io import feature_arrays, hdf5

Provenance = Mapping[str, Path]
_FEATURES = ("features", "feats")
_PREDICTED = ("risk", "time_days", "event", "survival", "horizons_days", "curves", "curve_days")


@dataclass(frozen=True)
class Grid:
    """Tiles of one slide.

    coords: int32 (n, 2), x and y of the upper-left corner in level-0 pixels.
    attributes: the patch attributes that CLAM and TRIDENT write beside `coords`:
    patch_size, patch_size_level0, overlap, level0_magnification, target_magnification, level0_width, level0_height, ...
    """

    coords: NDArray[np.int32]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Pathways:
    """Expression and gene sets of a cohort.

    expression: float32 (patients, genes), as in the table; no statistics.
    indices, indptr: genes of set p are `indices[indptr[p]:indptr[p + 1]]` (CSR).
    """

    patient_id: list[str]
    genes: list[str]
    expression: NDArray[np.float32]
    names: list[str]
    indices: NDArray[np.int64]
    indptr: NDArray[np.int64]

    def members(self) -> list[NDArray[np.int64]]:
        """Gene columns of each set."""
        return [self.indices[start:stop] for start, stop in zip(self.indptr[:-1], self.indptr[1:], strict=True)]


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with everything that was fitted on its training fold.

    weights: the model's parameters and buffers by name.
    scaler: mean and scale of genes (and of features, if standardised), by name.
    baseline: time_days (t,) and cumulative_hazard (t,), Breslow's, on the training fold.
    history: one column per name, one entry per epoch (NaN where undefined).
    attributes: model name, config, feature width, chosen epoch, ... JSON-serialisable.
    """

    weights: dict[str, NDArray[Any]]
    scaler: dict[str, NDArray[np.float32]]
    baseline: dict[str, NDArray[np.float64]]
    history: dict[str, NDArray[np.float64]]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Predictions:
    """Risks of the test patients of one fold: a higher risk is worse.

    survival: float32 (patients, horizons), probability of surviving each of `horizons_days`; NaN beyond support.
    curves: float32 (patients, times), the same at `curve_days`, for scores of the whole curve.
    exchanged: modality -> float64 (draws, patients), risks with that modality of another test patient. A model of two
    modalities has both, be it without draws.
    """

    patient_id: list[str]
    risk: NDArray[np.float64]
    time_days: NDArray[np.float64]
    event: NDArray[np.bool_]
    survival: NDArray[np.float32]
    horizons_days: NDArray[np.float64]
    curves: NDArray[np.float32]
    curve_days: NDArray[np.float64]
    exchanged: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


def write_tiles(
    path: Path, grid: Grid, *, quality: Mapping[str, Any], options: Mapping[str, Any], inputs: Provenance
) -> None:
    """Write /coords with its patch attributes, and what quality control found as JSON."""
    with hdf5.create(path, kind="tiles", options=options, inputs=inputs) as file:
        _write_coords(file, grid)
        file.attrs["quality"] = json.dumps(quality, sort_keys=True)


def read_tiles(path: Path) -> Grid:
    """Read /coords with its patch attributes."""
    with hdf5.open_artifact(path, kind="tiles") as file:
        return _read_coords(file)


def read_quality(path: Path) -> dict[str, Any]:
    """What quality control found on a slide: the row of `tables.QUALITY` without slide_id."""
    with hdf5.open_artifact(path, kind="tiles") as file:
        quality: dict[str, Any] = json.loads(file.attrs["quality"])
        return quality


def write_features(
    path: Path, features: NDArray[np.float16], grid: Grid, *, options: Mapping[str, Any], inputs: Provenance
) -> None:
    """Write /features (n, d) beside /coords (n, 2).

    Raises
    ------
    SlideError
        A feature is NaN, infinite, or beyond what float16 holds.
    """
    if len(features) != len(grid.coords):
        raise ValueError(f"{len(features)} features for {len(grid.coords)} coordinates")
    with np.errstate(over="ignore"):
        stored = features.astype(np.float16)
    bad = int((~np.isfinite(stored)).any(axis=1).sum())
    if bad:
        raise SlideError(
            f"{path}: expected finite features within ±{np.finfo(np.float16).max:g}, the range of float16, found "
            f"otherwise in {bad} of {len(stored)} rows. Check the encoder and its precision."
        )
    with hdf5.create(path, kind="features", options=options, inputs=inputs) as file:
        file.create_dataset("features", data=stored)
        _write_coords(file, grid)


def read_features(path: Path) -> NDArray[np.floating[Any]]:
    """Features (n, d) of a slide in the file's own floating type: ours, or a ready-made file.

    Read are HDF5 files with `features` (ours, TRIDENT, CLAM, MMP) or `feats` (STAMP), .npy (slide2vec) and .pt files
    (CLAM) of shape (n, d) or (1, n, d). Where `coords` lie beside them, there must be one for each row.

    Raises
    ------
    ArtifactError
        No such array, no rows, another number of coordinates, or a value that is NaN or infinite.
    """
    if path.suffix in feature_arrays.SUFFIXES:
        features, n_coords = feature_arrays.read_array(path), None
    else:
        features, n_coords = _read_hdf5_features(path)
    if features.ndim == 3 and features.shape[0] == 1:
        features = features[0]  # (n, d)
    if features.ndim != 2 or features.size == 0 or not np.issubdtype(features.dtype, np.floating):
        raise ArtifactError(
            f"{path}: expected floating-point features of shape (n, d) with at least one row, found {features.dtype} "
            f"{features.shape}."
        )
    if n_coords not in (None, len(features)):
        raise ArtifactError(
            f"{path}: expected one coordinate for each of the {len(features)} features, found {n_coords}. Make the "
            "file again."
        )
    bad = int((~np.isfinite(features)).any(axis=1).sum())
    if bad:
        raise ArtifactError(
            f"{path}: expected finite features, found NaN or infinity in {bad} of {len(features)} rows. "
            "Make the file again, or leave the slide out with bad_slides: {policy: exclude, limit: ...}."
        )
    return features


def _read_hdf5_features(path: Path) -> tuple[NDArray[Any], int | None]:
    """The array of features, and the number of coordinates beside it or None."""
    with hdf5.open_hdf5(path) as file:
        found = next((file[name] for name in _FEATURES if isinstance(file.get(name), h5py.Dataset)), None)
        if found is None:
            raise ArtifactError(f"{path}: expected a dataset named {' or '.join(_FEATURES)}, found {sorted(file)}.")
        coords = file.get("coords")
        n_coords = coords.shape[-2] if isinstance(coords, h5py.Dataset) and coords.ndim >= 2 else None
        return _whole(found, path=path), n_coords


def read_coords(path: Path, *, n_patches: int) -> NDArray[np.float32] | None:
    """Coordinates (n, 2) of a slide's patches, x and y in the file's own unit; None where the file has none.

    They are `coords` (n, 2) or (1, n, 2) of an HDF5 file, level-0 pixels in ours; other kinds of files have none.

    Raises
    ------
    ArtifactError
        They are no finite numbers, or not two for each of `n_patches`.
    """
    if path.suffix in feature_arrays.SUFFIXES:
        return None
    with hdf5.open_hdf5(path) as file:
        if not isinstance(file.get("coords"), h5py.Dataset):
            return None
        coords = np.asarray(_whole(file["coords"], path=path))
    if coords.ndim == 3 and coords.shape[0] == 1:
        coords = coords[0]  # (n, 2)
    numbers = np.issubdtype(coords.dtype, np.integer) or np.issubdtype(coords.dtype, np.floating)
    if coords.shape != (n_patches, 2) or not numbers or not np.isfinite(coords).all():
        raise ArtifactError(
            f"{path}: expected coords of shape ({n_patches}, 2), finite numbers, found {coords.dtype} {coords.shape}"
            f"{', some of them NaN or infinite' if numbers and not np.isfinite(coords).all() else ''}. Make the file "
            "again, or leave coords out of it."
        )
    return coords.astype(np.float32)


def _whole(dataset: h5py.Dataset, *, path: Path) -> Any:
    try:
        return dataset[()]
    except OSError as error:
        raise ArtifactError(
            f"{path}: {dataset.name} cannot be read ({error}): the file is damaged. Make it again."
        ) from error


def write_pathways(path: Path, pathways: Pathways, *, options: Mapping[str, Any], inputs: Provenance) -> None:
    """Write /expression, its patients and genes, and the gene index of each pathway."""
    with hdf5.create(path, kind="pathways", options=options, inputs=inputs) as file:
        file.create_dataset("expression", data=pathways.expression.astype(np.float32))
        _write_strings(file, "patient_id", pathways.patient_id)
        _write_strings(file, "genes", pathways.genes)
        _write_strings(file, "pathways/names", pathways.names)
        file.create_dataset("pathways/indices", data=pathways.indices)
        file.create_dataset("pathways/indptr", data=pathways.indptr)


def read_pathways(path: Path) -> Pathways:
    """Read what `write_pathways` wrote."""
    with hdf5.open_artifact(path, kind="pathways") as file:
        return Pathways(
            patient_id=_read_strings(file, "patient_id"),
            genes=_read_strings(file, "genes"),
            expression=file["expression"][()],
            names=_read_strings(file, "pathways/names"),
            indices=file["pathways/indices"][()],
            indptr=file["pathways/indptr"][()],
        )


def write_checkpoint(path: Path, checkpoint: Checkpoint, *, options: Mapping[str, Any], inputs: Provenance) -> None:
    """Write weights, scaler, baseline and history of one trained model."""
    with hdf5.create(path, kind="train", options=options, inputs=inputs) as file:
        for group in ("weights", "scaler", "baseline", "history"):
            file.create_group(group)
            for name, values in getattr(checkpoint, group).items():
                file[group].create_dataset(name, data=values)
        file.attrs["model"] = json.dumps(checkpoint.attributes, sort_keys=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what `write_checkpoint` wrote."""
    with hdf5.open_artifact(path, kind="train") as file:
        groups = {
            group: {name: values[()] for name, values in file[group].items()}
            for group in ("weights", "scaler", "baseline", "history")
        }
        return Checkpoint(**groups, attributes=json.loads(file.attrs["model"]))


def write_predictions(path: Path, predictions: Predictions, *, options: Mapping[str, Any], inputs: Provenance) -> None:
    """Write risk and survival of the test patients, and their risks with a modality of somebody else."""
    with hdf5.create(path, kind="evaluate", options=options, inputs=inputs) as file:
        _write_strings(file, "patient_id", predictions.patient_id)
        for name in _PREDICTED:
            file.create_dataset(name, data=getattr(predictions, name))
        for modality, risks in predictions.exchanged.items():
            file.create_dataset(f"exchanged/{modality}", data=risks)
        file.attrs["model"] = json.dumps(predictions.attributes, sort_keys=True)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote."""
    with hdf5.open_artifact(path, kind="evaluate") as file:
        return Predictions(
            patient_id=_read_strings(file, "patient_id"),
            exchanged={name: risks[()] for name, risks in file.get("exchanged", {}).items()},
            attributes=json.loads(file.attrs["model"]),
            **{name: file[name][()] for name in _PREDICTED},
        )


def _write_coords(file: h5py.File, grid: Grid) -> None:
    coords = file.create_dataset("coords", data=grid.coords.astype(np.int32))
    for name, value in grid.attributes.items():
        coords.attrs[name] = value


def _read_coords(file: h5py.File) -> Grid:
    coords = file["coords"]
    attributes = {
        name: value.item() if isinstance(value, np.generic) else value for name, value in coords.attrs.items()
    }
    return Grid(coords=coords[()], attributes=attributes)


def _write_strings(file: h5py.File, name: str, values: list[str]) -> None:
    file.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype("utf-8"))


def _read_strings(file: h5py.File, name: str) -> list[str]:
    return list(file[name].asstr()[()])
