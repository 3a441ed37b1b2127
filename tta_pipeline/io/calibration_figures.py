"""Figures of calibration: predicted against observed survival at each horizon."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tta_pipeline.io.drawing import BLACK, BLUE, DAYS_PER_YEAR, ORANGE, STYLE, WIDTH_IN, png

_COLUMNS = 3


def calibration(table: pd.DataFrame, *, title: str) -> bytes:
    """One panel per horizon: fifths of the patients by prediction, and all of them, with Kaplan-Meier intervals.

    Without horizons there is a title alone, for the workflow expects a file of every model.

    Parameters
    ----------
    table
        Rows of one model of the table `calibration`.
    """
    horizons = list(dict.fromkeys(table["at_days"]))
    rows = max(1, -(-len(horizons) // _COLUMNS))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 0.5 + 2.6 * rows))
        grid = figure.subplots(rows, _COLUMNS, squeeze=False)
        for axes in grid.flat[len(horizons) :]:
            axes.set_visible(False)
        figure.suptitle(title if horizons else f"{title}: no horizons (evaluate.horizons_days)", x=0.01, ha="left")
        for axes, day in zip(grid.flat, horizons, strict=False):
            _panel(axes, table[table["at_days"] == day], years=day / DAYS_PER_YEAR)
        return png(figure)


def _panel(axes: Axes, own: pd.DataFrame, *, years: float) -> None:
    axes.plot([0, 1], [0, 1], color=BLACK, lw=0.9, ls=":")
    for bins, colour, marker in ((own[own["bin"] > 0], BLUE, "o"), (own[own["bin"] == 0], ORANGE, "D")):
        known = bins[np.isfinite(bins["observed"])]
        axes.vlines(known["predicted"], known["low"], known["high"], color=colour, lw=1.6, alpha=0.7)
        hollow = "white" if marker == "D" else colour
        axes.plot(known["predicted"], known["observed"], marker, color=colour, mfc=hollow, ms=5.5, mew=1.4)
    whole = own[own["bin"] == 0].iloc[0]
    note = f"observed / expected\ndeaths {whole['ratio']:.2f}" if np.isfinite(whole["ratio"]) else "not defined"
    axes.text(0.97, 0.04, note, transform=axes.transAxes, ha="right", fontsize=8.5)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), title=f"{years:.1f} years", aspect="equal")
    axes.set(xlabel="predicted survival", ylabel="observed survival")
