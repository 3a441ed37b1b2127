"""All figures of a report, from its tables."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tta_pipeline.io import calibration_figures, cohort_figures, figures, slide_figures
from tta_pipeline.io.drawing import DAYS_PER_YEAR
from tta_pipeline.numerics import findings
from tta_pipeline.numerics.groups import RiskGroups, kaplan_meier, numbers_at_risk
from tta_pipeline.reporting.fits import Checkpoints


def draw(
    made: Mapping[str, pd.DataFrame],
    *,
    groups: Mapping[str, RiskGroups],
    checkpoints: Checkpoints,
    sets: pd.DataFrame,
    confidence: float,
    tiled: bool,
) -> dict[str, bytes]:
    """PNG of each figure by its name; none where there is nothing to draw."""
    pictures = {
        "c_index": figures.c_index(made["metrics"], made["summary"]),
        "events": cohort_figures.events(made["events"], warn_below=findings.FEW_EVENTS),
        "coverage": cohort_figures.coverage(sets),
        **{
            f"attrition_{kind}s": cohort_figures.attrition(made["attrition"], kind=kind)
            for kind in ("patient", "slide")
        },
    }
    if tiled:
        pictures["slides"] = slide_figures.contact_sheet(made["slides"])
    if (made["comparisons"]["verdict"] != "not compared").any():
        pictures["comparisons"] = figures.comparisons(made["comparisons"])
    for row in made["groups"].to_dict("records"):
        pictures[f"survival_{row['model']}"] = _survival(
            groups[row["model"]], model=row["model"], p=row["p"], confidence=confidence
        )
    for model in made["summary"]["model"]:
        rows = made["calibration"][made["calibration"]["model"] == model]
        pictures[f"calibration_{model}"] = calibration_figures.calibration(rows, title=model)
    for model, own in checkpoints.items():
        picture = figures.training([one.history for one in own], title=model)
        if picture is not None:
            pictures[f"training_{model}"] = picture
    return pictures


def _survival(groups: RiskGroups, *, model: str, p: float, confidence: float) -> bytes:
    longest_years = int(groups.time_days.max(initial=0) // DAYS_PER_YEAR)
    every = max(1, -(-longest_years // 8))
    ticks_days = np.array([DAYS_PER_YEAR * year for year in range(0, longest_years + 1, every)], dtype=np.float64)
    curves = []
    for name, member in (("low", ~groups.high), ("high", groups.high)):
        time_days, event = groups.time_days[member], groups.event[member]
        if len(event) == 0:
            continue
        curve = kaplan_meier(time_days=time_days, event=event, confidence=confidence)
        curves.append(
            figures.SurvivalCurve(
                label=f"{name} risk ({len(event)} patients, {event.sum()} events)",
                time_days=curve.time_days,
                survival=curve.survival,
                low=curve.low,
                high=curve.high,
                censored_days=curve.censored_days,
                censored_survival=curve.at(curve.censored_days),
                at_risk=numbers_at_risk(time_days, at_days=ticks_days),
            )
        )
    note = groups.reason or ("log-rank p not defined" if np.isnan(p) else f"log-rank p {findings.shown_p(p)}")
    return figures.survival(curves, ticks_days=ticks_days, title=model, note=note)
