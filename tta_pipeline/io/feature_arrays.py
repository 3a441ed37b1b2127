"""Feature files that are one array: NumPy's .npy, and torch's .pt as CLAM and others write it."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import ArtifactError
from tta_pipeline.io import file_kinds

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
    found = _kind(path)
    if found != "a NumPy array (.npy)":
        raise ArtifactError(f"{path}: expected an array of numbers as np.save writes it, found {found}.")
    try:
        # Mapped first, for then an array that is larger than its file is found before memory is asked for.
        return np.array(np.load(path, allow_pickle=False, mmap_mode="r"))
    except (ValueError, EOFError, OSError) as error:
        raise ArtifactError(
            f"{path}: expected an array of numbers as np.save writes it, found one that cannot be read ({error}); "
            "Python objects are not opened, for a pickle can run code. Make it again."
        ) from error


def _read_tensor(path: Path) -> NDArray[Any]:
    import torch  # noqa: PLC0415 (only torch reads its own format, and only here does io need it)

    wanted = f"{path}: expected a tensor as torch.save writes it"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of protocols and archives that are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own words are long, and advise to open it all the same.
        raise ArtifactError(
            f"{wanted}, found {_kind(path)} that holds something else than tensors; it is not opened, for a pickle can "
            "run code. Save the tensor alone."
        ) from error
    except (RuntimeError, EOFError, LookupError, ValueError, OSError) as error:
        said = "".join(str(error).splitlines()[:1])
        raise ArtifactError(f"{wanted}, found {_kind(path)} that cannot be read ({said}). Make it again.") from error
    if isinstance(content, Mapping):
        content = next((content[name] for name in _NAMES if name in content), content)
    if not isinstance(content, torch.Tensor):
        raise ArtifactError(
            f"{path}: expected a tensor, or one named features or feats, found {type(content).__name__}."
        )
    if content.layout is not torch.strided or content.nbytes > path.stat().st_size:
        raise ArtifactError(
            f"{wanted}, every value in its place, found {content.layout} of shape {tuple(content.shape)} in a file of "
            f"{path.stat().st_size} bytes. Save it with .to_dense().clone()."
        )
    tensor = content.detach()
    return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())


def _kind(path: Path) -> str:
    """What a file is, for a message."""
    with path.open("rb") as file:
        head = file.read(file_kinds.HEAD_BYTES)
    kind = file_kinds.kind_of(head)
    return kind[0] if kind else "a file of another kind" if head else "an empty file"
