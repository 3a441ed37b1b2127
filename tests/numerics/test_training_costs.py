"""Costs of training: what is measured, averaged and left open."""

import numpy as np
import pandas as pd

from tta_pipeline.numerics.training_costs import COLUMNS, cost_table, hours_per_thousand_slides

FITS = pd.DataFrame(
    [
        ("b [chosen on the test part]", "b", 0, 0, 0, 100.0, 10.0, 5.0),
        ("b [chosen on the test part]", "b", 0, 1, 0, 100.0, 20.0, 20.0),
        ("a", "a", 0, 0, 0, np.nan, 5.0, 5.0),
        ("c", "c", 0, 0, 0, 7.0, np.nan, np.nan),
    ],
    columns=["model", "name", "repeat", "fold", "seed", "n_parameters", "epochs", "epochs_run"],
)
JOBS = ["name", "repeat", "fold", "seed", "s", "max_rss_mb"]


def test_seconds_are_by_the_epochs_that_each_job_trained():
    jobs = pd.DataFrame(
        [("b", 0, 0, 0, 50.0, 300.0), ("b", 0, 1, 0, 60.0, 500.0), ("c", 0, 0, 0, 9.0, 1.0)], columns=JOBS
    )
    table = cost_table(FITS, jobs)
    assert list(table) == COLUMNS
    assert table.iloc[0].tolist() == ["b [chosen on the test part]", 2, 100, 15, 2, 6.5, 500]  # (50 / 5 + 60 / 20) / 2
    assert table.iloc[1, [0, 4]].tolist() == ["a", 0]
    assert table.iloc[1, [2, 5, 6]].isna().all()
    assert np.isnan(table.loc[2, "seconds_per_epoch"])  # of how many epochs is not known


def test_no_measured_job_and_no_fit():
    table = cost_table(FITS, pd.DataFrame(columns=JOBS).astype({"s": float, "repeat": int, "fold": int, "seed": int}))
    assert table["n_jobs"].tolist() == [0, 0, 0]
    assert table[["seconds_per_epoch", "peak_mb"]].isna().all(axis=None)
    assert cost_table(FITS[:0], pd.DataFrame(columns=JOBS)).empty


def test_hours_of_a_thousand_slides():
    stages = pd.DataFrame({"stage": ["tiles", "train"], "total_s": [72.0, 9.0]})
    assert hours_per_thousand_slides(stages, slides=20) == {"tiles": 1.0}
    assert hours_per_thousand_slides(stages, slides=0) == {}
