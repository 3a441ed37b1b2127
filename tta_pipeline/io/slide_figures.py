"""A sheet of the overlays of slides, those first that quality control left the most out of."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from tta_pipeline.io.drawing import STYLE, WIDTH_IN, png

_COLUMNS, _MOST = 3, 12
_EDGE_PX = 700


def contact_sheet(quality: pd.DataFrame) -> bytes:
    """Overlays of at most twelve slides: by the part of their tiles that ink or blur took, then by the fewest tiles.

    quality: rows of `tables.QUALITY`; a slide whose overlay is no longer there has an empty place.
    """
    quality = quality[quality["overlay"] != ""]
    if quality.empty:
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(WIDTH_IN, 0.6))
            figure.text(0.02, 0.4, "There are no overlays: no slide could be used, or tiles.overlays is false.")
            return png(figure)
    lost = quality["ink"] + quality["out_of_focus"]
    order = quality.assign(lost=lost / (lost + quality["kept"] + quality["not_drawn"]))
    shown = order.sort_values(["lost", "kept", "slide_id"], ascending=[False, True, True]).head(_MOST)
    pictures = [_picture(Path(overlay)) for overlay in shown["overlay"]]
    rows = -(-len(shown) // _COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, rows * (0.3 + _tallest(pictures) * WIDTH_IN / _COLUMNS)))
        axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for place in axes:
            place.axis("off")
        for place, picture, row in zip(axes[: len(shown)], pictures, shown.to_dict("records"), strict=True):
            if picture is not None:
                place.imshow(np.asarray(picture))
            title = f"{_short(row['slide_id'])}\n{row['kept']:,} tiles, {row['lost']:.0%} lost"
            place.set_title(title, fontsize=7.5, loc="left")
        return png(figure)


def _picture(path: Path) -> Image.Image | None:
    if not path.is_file():
        return None
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.thumbnail((_EDGE_PX, _EDGE_PX), Image.Resampling.LANCZOS)
    return picture


def _tallest(pictures: Sequence[Image.Image | None]) -> float:
    return max((picture.height / picture.width for picture in pictures if picture is not None), default=0.2)


def _short(slide_id: str) -> str:
    """The slide's name without the long identifier that GDC puts behind it."""
    return slide_id.split(".", maxsplit=1)[0][:34]
