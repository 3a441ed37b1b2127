"""What the figures share: colours, type, canvas, and the way to a PNG. Same input, same bytes: no date, no own fonts.

Colours are Okabe and Ito's, which colour-blind readers tell apart; a second cue (dash, marker, hatch) goes with each.
"""

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREY, BLACK = "#0072B2", "#D55E00", "#767676", "#222222"
WIDTH_IN = 7.6
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
DAYS_PER_YEAR = 365.25


def canvas(*, height_in: float) -> tuple[Figure, Axes]:
    """A figure of the page's width with one set of axes."""
    figure = Figure(figsize=(WIDTH_IN, height_in))
    return figure, figure.subplots()


def label_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Label the rows 0, 1, ... of a chart that is read from top to bottom."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#E4E4E4", lw=0.7)
    axes.set_axisbelow(True)


def png(figure: Figure) -> bytes:
    """The figure as PNG, without metadata that change from run to run."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()
