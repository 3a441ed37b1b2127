"""Spread over folds, seeds and repeats: each finds its own source and no other."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.numerics.test_metrics import fold
from tta_pipeline.numerics.results import c_per_part
from tta_pipeline.numerics.spread import spread_of_c


def parts(*, repeats=1, folds=1, seeds=1, of_seed=0.0, cohort=None):
    """Test parts; without `cohort` every repeat and fold has patients of its own, with it all have the same."""
    return [
        replace(part, risk=part.risk + of_seed * np.random.default_rng([repeat, number, seed]).normal(size=60))
        for repeat in range(repeats)
        for number in range(folds)
        for seed in range(seeds)
        for part in [
            fold(repeat=repeat, number=number, fit_seed=seed, seed=10 * repeat + number if cohort is None else cohort)
        ]
    ]


def test_folds_that_differ_spread_over_folds_alone():
    spread = spread_of_c(parts(folds=4, seeds=3))
    assert spread.over_folds > 0.01
    assert spread.over_seeds == pytest.approx(0, abs=1e-15)
    assert np.isnan(spread.over_repeats)


def test_seeds_that_differ_are_averaged_before_folds_are_compared():
    few, many = (spread_of_c(parts(folds=30, seeds=seeds, of_seed=1.0, cohort=0)) for seeds in (1, 25))
    assert np.isnan(few.over_seeds)
    assert many.over_seeds == pytest.approx(few.over_folds, rel=0.3)  # the same chance, once by seeds and once by folds
    assert many.over_folds == pytest.approx(many.over_seeds / 5, rel=0.5)  # the mean of 25 seeds


def test_the_definitions_by_pandas():
    model = parts(repeats=3, folds=4, seeds=2, of_seed=0.5)
    table = c_per_part({"a": model})
    per_fold = table.groupby(["repeat", "fold"])["c_index"].mean()
    spread = spread_of_c(model)
    assert spread.over_folds == pytest.approx(np.sqrt(per_fold.groupby("repeat").var(ddof=1).mean()))
    assert spread.over_seeds == pytest.approx(np.sqrt(table.groupby(["repeat", "fold"])["c_index"].var(ddof=1).mean()))
    assert spread.over_repeats == pytest.approx(per_fold.groupby("repeat").mean().std(ddof=1))


def test_undefined_parts_are_left_out_and_nothing_to_compare_is_nan():
    model = parts(folds=3, seeds=2, of_seed=0.5)
    without = [*model[:4], *(replace(part, event=np.zeros(60, dtype=bool)) for part in model[4:])]
    assert spread_of_c(without) == spread_of_c(model[:4])
    alone = spread_of_c(model[:1])
    assert pd.isna([alone.over_folds, alone.over_seeds, alone.over_repeats]).all()
