"""A picture to look at: the thumbnail of a slide with its tissue, the tiles that were kept, and why others were not."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tta_pipeline.io.picture import write_png

_OUTLINE = (0, 0, 0)
_KEPT = "kept"
# Okabe and Ito's colours; tiles that were left out are struck through as well.
_COLOURS = {
    _KEPT: (0, 120, 80),
    "little tissue": (118, 118, 118),
    "ink": (213, 94, 0),
    "out of focus": (0, 90, 200),
    "not drawn": (180, 110, 160),
}
_LINE_PX, _FONT_PX = 18, 13


def write_overlay(
    path: Path,
    thumbnail: NDArray[np.uint8],
    *,
    outline: NDArray[np.bool_],
    tiles: Mapping[str, NDArray[np.int32]],
    edge_level0_px: float,
    downsample: float,
) -> None:
    """Write a PNG of the thumbnail (height, width, 3): tissue outline in black, tiles in colours that a legend names.

    tiles: "kept" or the reason why not -> int32 (n, 2), x and y in level-0 pixels; `downsample` level-0 pixels make
    one of the thumbnail.
    """
    painted = thumbnail.copy()
    painted[outline] = _OUTLINE
    image = Image.fromarray(painted)
    draw = ImageDraw.Draw(image)
    edge = edge_level0_px / downsample
    for name in sorted(tiles, key=lambda name: name == _KEPT):  # kept tiles on top
        for x, y in tiles[name] / downsample:
            draw.rectangle((x, y, x + edge, y + edge), outline=_COLOURS[name])
            if name != _KEPT:
                draw.line((x, y + edge, x + edge, y), fill=_COLOURS[name])
    write_png(path, _with_legend(image, {name: len(coords) for name, coords in tiles.items()}))


def _with_legend(image: Image.Image, counts: Mapping[str, int]) -> Image.Image:
    """The picture with one line per kind of tile below it."""
    shown = [(name, count) for name, count in counts.items() if count or name == _KEPT]
    width = max(image.width, 200)
    page = Image.new("RGB", (width, image.height + _LINE_PX * len(shown) + 6), "white")
    page.paste(image, (0, 0))
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=_FONT_PX)
    for line, (name, count) in enumerate(shown):
        y = image.height + 4 + line * _LINE_PX
        draw.rectangle((6, y + 2, 16, y + 12), outline=_COLOURS[name], width=2)
        if name != _KEPT:
            draw.line((6, y + 12, 16, y + 2), fill=_COLOURS[name], width=2)
        draw.text((24, y - 1), f"{name}: {count:,} tiles", fill="black", font=font)
    return page
