"""Figures of who and what is in a study: attrition, events per fold, coverage of gene sets."""

import textwrap
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tta_pipeline.io.drawing import BLUE, ORANGE, STYLE, WIDTH_IN, canvas, label_rows, png

_LEFT = "#E3B7A0"
_NO_GENES = 0.5  # where a logarithmic axis shows sets without any measured gene
_OVER_LINE: Any = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}


def attrition(steps: pd.DataFrame, *, kind: str) -> bytes:
    """What is left after each step, from the candidates down to who is used."""
    own = steps[steps["kind"] == kind]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(height_in=0.9 + 0.44 * len(own))
        top = float(own["remaining"].max())
        for row, step in enumerate(own.to_dict("records")):
            axes.barh(row, step["remaining"], color=BLUE, height=0.66)
            axes.barh(
                row,
                step["left"],
                left=step["remaining"],
                color=_LEFT,
                height=0.66,
                hatch="///",
                edgecolor=ORANGE,
                lw=0,
            )
            count = f"{step['remaining']:,}" + (f"  (−{step['left']:,})" if step["left"] else "")  # noqa: RUF001
            axes.text(step["remaining"] + step["left"] + 0.01 * top, row, count, va="center", fontsize=9.5)
        label_rows(axes, [_two_lines(f"{step['stage']}: {step['reason']}") for step in own.to_dict("records")])
        axes.set(xlim=(0, 1.16 * top), xlabel=f"{kind}s (hatched: left at this step)")
        return png(figure)


def events(table: pd.DataFrame, *, warn_below: int) -> bytes:
    """Events in the test part of each fold, with the line below which a C-index says little."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(height_in=2.6)
        place = np.arange(len(table))
        axes.bar(place, table["n_test_events"], color=BLUE, width=0.66)
        if len(table) <= 30:
            for at, count in zip(place.tolist(), table["n_test_events"], strict=True):
                axes.annotate(
                    f"{count}",
                    (at, count),
                    (0, 3),
                    textcoords="offset points",
                    ha="center",
                    fontsize=9,
                    bbox=_OVER_LINE,
                )
            axes.set_xticks(place, [f"{row['repeat']}.{row['fold']}" for row in table.to_dict("records")], fontsize=9)
        axes.axhline(warn_below, color=ORANGE, ls="--", lw=1.2, label=f"{warn_below} events")
        axes.set(xlabel="repeat.fold", ylabel="events in the test part")
        axes.set_ylim(0, 1.15 * max(warn_below, int(table["n_test_events"].max())))
        figure.legend(loc="outside upper right", fontsize=9)
        return png(figure)


def coverage(table: pd.DataFrame) -> bytes:
    """Gene sets by the number and by the fraction of their genes in the expression matrix; kept and left out."""
    fraction = 100 * table["available"] / table["genes"].clip(lower=1)
    most = max(10, int(table["available"].max()))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 2.7))
        panels = figure.subplots(1, 2)
        measured = table["available"].clip(lower=_NO_GENES)
        _stacked(panels[0], measured, kept=table["kept"], bins=np.geomspace(_NO_GENES, most + 1, 21), log=True)
        _stacked(panels[1], fraction, kept=table["kept"], bins=np.linspace(0, 100, 21), log=False)
        panels[0].set(xlabel="genes of the set that were measured", ylabel="gene sets")
        panels[1].set(xlabel="genes of the set that were measured, %")
        for axes in panels:
            axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=9)
        return png(figure)


def _stacked(axes: Axes, values: pd.Series, *, kept: pd.Series, bins: NDArray[np.float64], log: bool) -> None:
    axes.hist(
        [values[kept], values[~kept]],
        bins=bins.tolist(),
        stacked=True,
        color=[BLUE, _LEFT],
        hatch=["", "///"],
        edgecolor="white",
        label=[f"kept ({int(kept.sum())})", f"left out ({int((~kept).sum())})"],
    )
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(bins[0], bins[-1])


def _two_lines(text: str) -> str:
    return "\n".join(textwrap.wrap(text, width=46, max_lines=2, placeholder=" …"))
