"""Feature files that are one array: NumPy's .npy, and torch's .pt as CLAM and others write it."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import ArtifactError

SUFFIXES = (".npy", ".pt", ".pth")
_NAMES = ("features", "feats")


def read_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file, or the tensor of a .pt file, which may lie under "features" or "feats" in a dict.

    Neither may run code: object arrays and pickles of anything but tensors are refused.

    Raises
    ------
    ArtifactError
        The file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: expected features, found nothing.")
    return _read_npy(path) if path.suffix == ".npy" else _read_tensor(path)


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise ArtifactError(f"{path}: expected an array of numbers as np.save writes it, found: {error}.") from error


def _read_tensor(path: Path) -> NDArray[Any]:
    import torch  # noqa: PLC0415 (only torch reads its own format, and only here does io need it)

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, OSError) as error:
        raise ArtifactError(
            f"{path}: expected a tensor as torch.save writes it, found: {str(error).splitlines()[0]}"
        ) from error
    if isinstance(content, Mapping):
        content = next((content[name] for name in _NAMES if name in content), content)
    if not isinstance(content, torch.Tensor):
        raise ArtifactError(
            f"{path}: expected a tensor, or one named features or feats, found {type(content).__name__}."
        )
    tensor = content.detach()
    return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
