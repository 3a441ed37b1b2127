"""A picture to look at: the thumbnail of a slide with its tissue and the tiles that were kept."""

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_OUTLINE = (0, 0, 0)
_TILE = (0, 120, 0)


def write_overlay(
    path: Path,
    thumbnail: NDArray[np.uint8],
    *,
    outline: NDArray[np.bool_],
    coords: NDArray[np.int32],
    edge_level0_px: float,
    downsample: float,
) -> None:
    """Write a PNG of the thumbnail (height, width, 3): tissue outline in black, kept tiles in green.

    coords: int32 (n, 2), x and y in level-0 pixels; `downsample` level-0 pixels make one of the thumbnail.
    """
    painted = thumbnail.copy()
    painted[outline] = _OUTLINE
    image = Image.fromarray(painted)
    draw = ImageDraw.Draw(image)
    edge = edge_level0_px / downsample
    for x, y in coords / downsample:
        draw.rectangle((x, y, x + edge, y + edge), outline=_TILE)
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
