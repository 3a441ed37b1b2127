"""Tables of who and what is in the study."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tta_pipeline.io import study, tables
from tta_pipeline.numerics import flow


def make_cohort(
    cohort: pd.DataFrame,
    roles: pd.DataFrame,
    *,
    slides: Path,
    attrition: Path,
    manifests: list[Path],
    quality: list[Path],
    left_later: Mapping[str, str],
) -> dict[str, pd.DataFrame]:
    """Events of the folds, attrition, samples and slides that are not used, and quality of slides, by table.

    Parameters
    ----------
    cohort, roles
        The patients and the splits.
    slides, attrition, manifests, quality
        Files of the stages, as for the report.
    left_later
        Slides that train and evaluate left out, with reasons.
    """
    left = tables.read_table(attrition, columns=tables.ATTRITION)
    features = study.read_feature_table(slides, manifests)
    return {
        "events": flow.events_per_fold(flow.describe_parts(roles.merge(cohort, on="patient_id"))),
        "attrition": flow.attrition_steps(
            left, patients=cohort, features=features, left_later=left_later, split=set(roles["patient_id"])
        ),
        "samples": flow.unused_samples(left),
        "bad_slides": flow.bad_slides(left, features=features, left_later=left_later),
        "slides": pd.concat(
            [tables.empty(tables.QUALITY), *(tables.read_table(path, columns=tables.QUALITY) for path in quality)]
        ),
    }
