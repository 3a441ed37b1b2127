"""Stain normalisation of tiles, by torchstain."""

import importlib
import threading
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tta_pipeline.errors import InputError

_CLASSES = {"macenko": "MacenkoNormalizer", "reinhard": "ReinhardNormalizer"}
_TOO_FEW_PIXELS = (IndexError, RuntimeError)  # what torchstain raises on a tile with hardly any stain


class StainNormaliser:
    """Gives tiles the stain of a target picture; may be used from several threads.

    A tile on which the stain cannot be estimated, such as glass, stays as it is and is counted in `left_alone`.

    Parameters
    ----------
    method
        "macenko": Macenko et al., Proc. ISBI (2009) 1107; "reinhard": Reinhard et al., IEEE CG&A 21 (2001) 34.
    target
        uint8 (height, width, 3), a tile with the stain that all are to have.

    Raises
    ------
    InputError
        torchstain is not installed, or the target has no stain to estimate.
    """

    def __init__(self, method: Literal["macenko", "reinhard"], target: NDArray[np.uint8]):
        try:
            normalisers: Any = importlib.import_module("torchstain").normalizers
        except ImportError as error:
            raise InputError(
                f"features.stain {method}: expected the package torchstain, found none. "
                "Install it with: pip install torchstain"
            ) from error
        self._normaliser = getattr(normalisers, _CLASSES[method])(backend="torch")
        self._lock = threading.Lock()
        self.left_alone = 0
        if target.std() == 0:
            raise InputError("features.stain_target: expected a picture of stained tissue, found one colour alone.")
        try:
            self._normaliser.fit(_planes(target))
        except _TOO_FEW_PIXELS as error:
            raise InputError(
                "features.stain_target: expected a picture of stained tissue, found one whose stain cannot be "
                f"estimated ({error})."
            ) from error

    def apply(self, tile: NDArray[np.uint8]) -> None:
        """Normalise a tile, uint8 (height, width, 3), in place."""
        if tile.std() == 0:
            self._leave()
            return
        try:
            found = self._normaliser.normalize(I=_planes(tile))
        except _TOO_FEW_PIXELS:
            self._leave()
            return
        pixels = found[0] if isinstance(found, tuple) else found  # Macenko's has the two stains as well
        tile[...] = pixels.clamp(0, 255).to(torch.uint8).numpy()  # (height, width, 3)

    def _leave(self) -> None:
        with self._lock:
            self.left_alone += 1


def _planes(rgb: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)  # (3, height, width)
