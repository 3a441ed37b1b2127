"""Figures of results: C-indices, comparisons, survival by risk group, training curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tta_pipeline.io.drawing import BLACK, BLUE, DAYS_PER_YEAR, GREY, ORANGE, STYLE, WIDTH_IN, canvas, label_rows, png

_TITLES = {"c_index": "C-index", "cox": "Cox loss"}
_PARTS = {"train": (BLUE, "-"), "validation": (ORANGE, "--"), "test": (BLACK, ":")}
_FIRST = ("c_index", "cox", "loss")


@dataclass(frozen=True)
class SurvivalCurve:
    """A Kaplan-Meier curve of one group to draw: steps (t,), censoring times, numbers at risk (ticks,)."""

    label: str
    time_days: NDArray[np.float64]
    survival: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    censored_days: NDArray[np.float64]
    censored_survival: NDArray[np.float64]
    at_risk: NDArray[np.int64]


def c_index(runs: pd.DataFrame, summary: pd.DataFrame) -> bytes:
    """C-index of every test part, and per model the pooled C with its interval and the true risk's C if known."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(height_in=1.3 + 0.62 * len(summary))
        for row, model in enumerate(summary.to_dict("records")):
            values = runs.loc[(runs["model"] == model["model"]), "c_index"].dropna().sort_values().to_numpy()
            offset = row + 0.26 + 0.05 * (np.arange(len(values)) % 3 - 1)
            axes.plot(values, offset, "o", color=GREY, ms=4.5, mfc="none", label="one test part" if row == 0 else None)
            axes.plot([model["c_low"], model["c_high"]], [row, row], color=BLUE, lw=2.4, solid_capstyle="butt")
            axes.plot(
                model["c_pooled"], row, "o", color=BLUE, ms=8, label="pooled, with interval" if row == 0 else None
            )
            axes.plot(
                model["c_true_risk"], row, "D", color=ORANGE, ms=7, mfc="none", mew=1.6,
                label="true risk" if row == 0 and np.isfinite(model["c_true_risk"]) else None,
            )  # fmt: skip
        label_rows(axes, list(summary["model"]))
        axes.axvline(0.5, color=BLACK, lw=0.9, ls=":")
        axes.set_xlabel("C-index (0.5: no better than chance; 1: every comparable pair in the right order)")
        figure.legend(loc="outside upper right", ncols=3, fontsize=9)
        return png(figure)


def comparisons(table: pd.DataFrame) -> bytes:
    """Difference in C-index of every pair of models with its interval."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(height_in=1.1 + 0.42 * len(table))
        for row, pair in enumerate(table.to_dict("records")):
            shown = pair["verdict"].endswith("higher")
            colour = BLUE if shown else GREY
            axes.plot([pair["c_low"], pair["c_high"]], [row, row], color=colour, lw=2.2, solid_capstyle="butt")
            axes.plot(pair["c_difference"], row, "o", color=colour, ms=7, mfc=colour if shown else "white", mew=1.6)
        label_rows(axes, [f"{pair['model_a']} − {pair['model_b']}" for pair in table.to_dict("records")])  # noqa: RUF001
        axes.axvline(0, color=BLACK, lw=0.9, ls=":")
        axes.set_xlabel("difference in C-index (right: first model higher; open: no difference shown)")
        return png(figure)


def survival(curves: Sequence[SurvivalCurve], *, ticks_days: NDArray[np.float64], title: str, note: str) -> bytes:
    """Kaplan-Meier curves of risk groups with intervals, censoring marks and numbers at risk at each tick.

    Without curves there are the axes and the note, for the workflow expects a file of every model.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(height_in=4.4)
        for curve, colour, dash in zip(curves, (BLUE, ORANGE), ("-", "--"), strict=False):
            years = curve.time_days / DAYS_PER_YEAR
            axes.fill_between(years, curve.low, curve.high, step="post", color=colour, alpha=0.15, lw=0)
            axes.step(years, curve.survival, where="post", color=colour, ls=dash, lw=1.9, label=curve.label)
            axes.plot(
                curve.censored_days / DAYS_PER_YEAR,
                curve.censored_survival,
                "|",
                color=colour,
                ms=6,
                mew=0.8,
                alpha=0.8,
            )
        ticks = ticks_days / DAYS_PER_YEAR
        axes.set(xlim=(0, None), ylim=(0, 1.02), ylabel="probability of survival", xticks=ticks)
        axes.set_xticklabels([f"{tick:g}" for tick in ticks])
        axes.set_xlabel("years of follow-up")
        axes.set_title(title, loc="left")
        axes.text(0.015, 0.04, note, transform=axes.transAxes, fontsize=9.5)
        if curves:
            axes.legend(loc="upper right")
            _numbers_at_risk(axes, curves, ticks)
        return png(figure)


def training(histories: Sequence[Mapping[str, NDArray[np.float64]]], *, title: str) -> bytes | None:
    """Every column of the histories against the epoch: mean over fits, and a band of one standard deviation.

    Columns that differ in the prefix `train_`, `loss_`, `validation_` or `test_` alone share a panel.
    None where there is nothing to draw.
    """
    panels: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for history in histories for name in history if name != "epoch"):
        if any(np.isfinite(history[name]).any() for history in histories if name in history):
            panels.setdefault(_quantity(name), []).append(name)
    if not panels:
        return None
    panels = {title: panels[title] for title in sorted(panels, key=lambda title: (title not in _FIRST, title))}
    with mpl.rc_context(STYLE):
        columns = min(3, len(panels))
        rows = -(-len(panels) // columns)
        figure = Figure(figsize=(WIDTH_IN, 0.3 + 2.1 * rows))
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.suptitle(title, x=0.01, ha="left")
        for axes, (quantity, names) in zip(grid.flat, panels.items(), strict=False):
            for name in names:
                _band(axes, [history[name] for history in histories if name in history], name=name)
            axes.set(title=_TITLES.get(quantity, quantity.replace("_", " ")), xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axes.ticklabel_format(axis="y", scilimits=(-3, 5), useOffset=False)
            if len(names) > 1:
                axes.legend(fontsize=8.5)
        return png(figure)


def _quantity(column: str) -> str:
    for prefix in ("train_", "validation_", "test_", "loss_"):
        column = column.removeprefix(prefix)
    return column


def _band(axes: Axes, columns: Sequence[NDArray[np.float64]], *, name: str) -> None:
    epochs = max(map(len, columns))
    values = np.full((len(columns), epochs), np.nan)
    for row, column in enumerate(columns):
        values[row, : len(column)] = column
    shown = np.isfinite(values).any(axis=0)
    epoch, masked = 1 + np.flatnonzero(shown), np.ma.masked_invalid(values[:, shown])
    mean, std = masked.mean(axis=0).filled(np.nan), masked.std(axis=0).filled(np.nan)
    part = next((part for part in _PARTS if name.startswith(f"{part}_")), "train")
    colour, dash = _PARTS[part]
    axes.fill_between(epoch, mean - std, mean + std, color=colour, alpha=0.18, lw=0)
    axes.plot(
        epoch, mean, color=colour, ls=dash, lw=1.6, marker="o" if len(epoch) == 1 else None, label=part,
    )  # fmt: skip


def _numbers_at_risk(axes: Axes, curves: Sequence[SurvivalCurve], ticks: NDArray[np.float64]) -> None:
    below = axes.get_xaxis_transform()
    axes.text(-0.03, -0.225, "at risk", transform=axes.transAxes, ha="right", fontsize=9, color=BLACK)
    for row, (curve, colour) in enumerate(zip(curves, (BLUE, ORANGE), strict=False)):
        height = -0.285 - 0.06 * row
        label = curve.label.split(" ", 1)[0]
        axes.text(-0.03, height, label, transform=axes.transAxes, ha="right", fontsize=9, color=colour)
        for tick, count in zip(ticks, curve.at_risk, strict=True):
            axes.text(tick, height, f"{count}", transform=below, ha="center", fontsize=9, color=colour)
