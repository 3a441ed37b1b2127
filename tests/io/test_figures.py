"""Figures are drawn from whatever the tables hold, undefined values too, and the same way each time."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tta_pipeline.io import calibration_figures, cohort_figures, figures

SUMMARY = pd.DataFrame(
    {
        "model": ["tta", "broken"],
        "c_pooled": [0.61, np.nan],
        "c_low": [0.55, np.nan],
        "c_high": [0.67, np.nan],
        "c_true_risk": [np.nan, np.nan],
    }
)
RUNS = pd.DataFrame({"model": ["tta", "tta", "broken"], "c_index": [0.58, 0.64, np.nan]})
PAIRS = pd.DataFrame(
    [("a", "b", 0.1, 0.02, 0.2, "a higher"), ("a", "c", np.nan, np.nan, np.nan, "not compared")],
    columns=["model_a", "model_b", "c_difference", "c_low", "c_high", "verdict"],
)
STEPS = pd.DataFrame(
    [("patient", "inputs", "candidates", 0, 9), ("patient", "cohort", "a very long reason " * 9, 4, 5)],
    columns=["kind", "stage", "reason", "left", "remaining"],
)
EVENTS = pd.DataFrame({"repeat": 0, "fold": range(3), "n_test_events": [0, 12, 7]})
SETS = pd.DataFrame({"genes": [10, 0, 200], "available": [9, 0, 150], "kept": [True, False, True]})

CALIBRATION = pd.DataFrame(
    [(365.0, 0, 0.5, 0.6, 0.5, 0.7, 0.8), (365.0, 1, 0.2, np.nan, np.nan, np.nan, np.nan)]
    + [(day, 0, *[np.nan] * 5) for day in (730.0, 1095.0, 1460.0)],
    columns=["at_days", "bin", "predicted", "observed", "low", "high", "ratio"],
)


def curve(label):
    days = np.array([0.0, 200, 500])
    return figures.SurvivalCurve(
        label=label,
        time_days=days,
        survival=np.array([1, 0.7, 0.4]),
        low=np.array([1, 0.5, 0.2]),
        high=np.array([1, 0.9, 0.7]),
        censored_days=np.array([300.0]),
        censored_survival=np.array([0.7]),
        at_risk=np.array([3, 1]),
    )


DRAW = {
    "calibration without horizons": lambda: calibration_figures.calibration(CALIBRATION[:0], title="tta"),
    "calibration": lambda: calibration_figures.calibration(CALIBRATION, title="tta"),
    "c_index": lambda: figures.c_index(RUNS, SUMMARY),
    "comparisons": lambda: figures.comparisons(PAIRS),
    "survival": lambda: figures.survival(
        [curve("low risk"), curve("high risk")], ticks_days=np.array([0.0, 365]), title="tta", note=""
    ),
    "no groups": lambda: figures.survival([], ticks_days=np.array([0.0]), title="tta", note="train again"),
    "one group": lambda: figures.survival([curve("low risk")], ticks_days=np.array([0.0, 365]), title="tta", note=""),
    "training": lambda: figures.training(
        [{"loss_cox": np.array([2.0, np.nan, 1])}, {"loss_cox": np.array([3.0])}], title="tta"
    ),
    "attrition": lambda: cohort_figures.attrition(STEPS, kind="patient"),
    "events": lambda: cohort_figures.events(EVENTS, warn_below=10),
    "many folds": lambda: cohort_figures.events(pd.concat([EVENTS] * 20), warn_below=10),
    "coverage": lambda: cohort_figures.coverage(SETS),
    "all kept": lambda: cohort_figures.coverage(SETS[SETS["kept"]]),
}


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_is_a_png_with_ink_and_the_same_each_time(name):
    png = DRAW[name]()
    with Image.open(io.BytesIO(png)) as image:
        assert image.width == 1216
        assert image.info.keys() <= {"dpi"}
        assert len(image.convert("RGB").getcolors(1 << 20)) > 10
    assert DRAW[name]() == png


def drawn_panels(monkeypatch, histories):
    """Titles and line labels of the panels of the training figure."""
    panels = {}

    def look(figure):
        for axes in figure.axes:
            if axes.get_visible():
                panels[axes.get_title(loc="left")] = [line.get_label() for line in axes.lines]
        return b""

    monkeypatch.setattr(figures, "png", look)
    figures.training(histories, title="tta")
    return panels


def test_train_and_validation_share_a_panel_and_the_c_index_comes_first(monkeypatch):
    names = ["epoch", "learning_rate", "loss_cox", "rho", "train_c_index", "validation_c_index", "validation_cox"]
    names += ["test_cox"]
    panels = drawn_panels(monkeypatch, [{name: np.arange(3.0) for name in names}])
    assert list(panels) == ["C-index", "Cox loss", "learning rate", "rho"]
    assert panels["C-index"] == ["train", "validation"]
    assert panels["Cox loss"] == ["train", "validation", "test"]


def test_a_column_that_is_never_defined_has_no_panel(monkeypatch):
    history = {"loss": np.ones(2), "validation_loss": np.full(2, np.nan), "rho": np.full(2, np.nan)}
    assert list(drawn_panels(monkeypatch, [history])) == ["loss"]
    assert figures.training([{"rho": np.full(2, np.nan)}], title="tta") is None
    assert figures.training([], title="tta") is None
