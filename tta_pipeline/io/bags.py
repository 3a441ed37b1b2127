"""Bags: the patch features of all of a patient's slides, stacked; read once, kept in memory, drawn from."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tta_pipeline import config
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import artifacts
from tta_pipeline.io.study import Patient

log = logging.getLogger(__name__)
Bag = NDArray[np.floating[Any]]
Rows = slice | NDArray[np.int64]


class Bags:
    """Bags of some patients; no other patient's file is opened.

    Parameters
    ----------
    patients
        Those to read. Every bag is read once here, which finds damaged files before any work is done.
    cache_gb
        Memory for bags, in GB of 1e9 bytes and in their stored type; a bag that does not fit is read again.
    bad_slides
        With policy "exclude", up to `limit` files that cannot be used are left out, and logged.
    with_places
        Read where patches are, too. That is kept for all of them, 8 bytes a patch, and taken from `cache_gb`.

    Raises
    ------
    ArtifactError
        A file cannot be used, and the policy does not allow to leave it out.
    InputError
        Files of two widths, or more bad slides than the limit.
    """

    def __init__(
        self,
        patients: Iterable[Patient],
        *,
        cache_gb: float,
        bad_slides: config.BadSlides,
        with_places: bool = False,
    ):
        self.with_places = with_places
        self._bad_slides = bad_slides
        self._free_bytes = cache_gb * 1e9
        self._cache: dict[str, Bag] = {}
        self._files: dict[str, tuple[Path, ...]] = {}
        self._coords: dict[Path, NDArray[np.float32]] = {}
        self._first: tuple[Path, int] | None = None
        self.excluded: dict[str, str] = {}
        self.n_patches: dict[str, int] = {}
        for patient in patients:
            self._open(patient)

    @property
    def width(self) -> int:
        """Features per patch."""
        if self._first is None:
            raise InputError("expected at least one patient with usable features, found none. Check the slides table.")
        return self._first[1]

    def read(self, patient_id: str) -> Bag:
        """All patches of a patient, (patches, width) in their stored type."""
        if patient_id in self._cache:
            return self._cache[patient_id]
        return _stack([artifacts.read_features(path) for path in self._files[patient_id]])

    def draw(self, patient_id: str, *, count: int, generator: np.random.Generator) -> Bag:
        """The features of the patches that `rows` draws, in their stored type."""
        return self.read(patient_id)[self.rows(patient_id, count=count, generator=generator)]

    def rows(self, patient_id: str, *, count: int, generator: np.random.Generator) -> Rows:
        """Which patches of a bag to take: `count` without replacement, in their stored order; a shorter bag whole."""
        n_patches = self.n_patches[patient_id]
        if n_patches <= count:
            return slice(None)
        return np.sort(generator.choice(n_patches, size=count, replace=False, shuffle=False))

    def places(self, patient_id: str) -> NDArray[np.float32]:
        """Of each patch that `read` gives, the slide's number among the patient's own, x and y: (patches, 3).

        The unit is that of the slide's file, level-0 pixels in ours. Patches of a file without coordinates stand in a
        row, one step apart, in the order of the file.
        """
        slides = [self._coords[path] for path in self._files[patient_id]]
        return np.concatenate([np.insert(coords, 0, number, axis=1) for number, coords in enumerate(slides)])

    def _open(self, patient: Patient) -> None:
        slides = {path: features for path in patient.features if (features := self._features(path)) is not None}
        if not slides:
            return
        bag = _stack(list(slides.values()))
        self._files[patient.patient_id] = tuple(slides)
        self.n_patches[patient.patient_id] = len(bag)
        if bag.nbytes <= self._free_bytes:
            self._free_bytes -= bag.nbytes
            self._cache[patient.patient_id] = bag

    def _features(self, path: Path) -> Bag | None:
        try:
            features = artifacts.read_features(path)
            if self.with_places:
                self._coords[path] = _coords(path, n_patches=len(features))
        except ArtifactError as error:
            if self._bad_slides.policy == "fail":
                raise
            self._leave_out(path, reason=str(error))
            return None
        first, width = self._first = self._first or (path, features.shape[1])
        if features.shape[1] != width:
            raise InputError(
                f"expected features of one width, found {width} in {first} and {features.shape[1]} in {path}. "
                "Extract all slides with one encoder."
            )
        self._free_bytes -= self._coords[path].nbytes if self.with_places else 0
        return features

    def _leave_out(self, path: Path, *, reason: str) -> None:
        self.excluded[path.stem] = reason
        log.info("left out %s: %s", path.stem, reason)
        if len(self.excluded) > self._bad_slides.limit:
            raise InputError(
                f"expected at most bad_slides.limit = {self._bad_slides.limit} slides left out, found "
                f"{len(self.excluded)}: {reason} Mend the slides, or raise the limit."
            )


def _coords(path: Path, *, n_patches: int) -> NDArray[np.float32]:
    coords = artifacts.read_coords(path, n_patches=n_patches)
    if coords is None:
        return np.column_stack([np.arange(n_patches), np.zeros(n_patches)]).astype(np.float32)
    return coords


def _stack(slides: list[Bag]) -> Bag:
    bag = slides[0] if len(slides) == 1 else np.concatenate(slides)
    return bag.astype(np.float32) if bag.dtype == np.float64 else bag
