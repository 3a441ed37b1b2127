"""Pictures as files."""

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tta_pipeline.errors import InputError


def read_picture(path: Path, *, key: str) -> NDArray[np.uint8]:
    """A picture that the config names under `key`: uint8 (height, width, 3).

    Raises
    ------
    InputError
        There is none.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except (FileNotFoundError, UnidentifiedImageError, OSError) as error:
        raise InputError(f"{key}: expected a picture such as a PNG, found {path} ({error}).") from error


def write_png(path: Path, image: Image.Image) -> None:
    """Write a PNG that appears whole under its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            image.save(file, format="PNG")
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
