"""Tables of checks: each row is that of the function it rests on, and nothing is left out in silence."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.numerics.test_hazards import study
from tests.numerics.test_scores import HORIZONS, prediction
from tta_pipeline.numerics.calibration import calibrate
from tta_pipeline.numerics.hazards import added_value, proportional_hazards
from tta_pipeline.numerics.risk_checks import (
    ADDED,
    ALL_COVARIATES,
    CALIBRATION,
    HAZARDS,
    added_table,
    calibration_table,
    hazards_table,
)


def covariates(**columns):
    rows = [(name, key, str(value)) for key, values in columns.items() for name, value in values.items()]
    return pd.DataFrame(rows, columns=["patient_id", "covariate", "value"])


def test_calibration_is_that_of_all_folds_of_the_first_fit():
    own = [prediction(fold, 0) for fold in (0, 1)]
    table = calibration_table({"m": [*own, prediction(0, 1)]}, confidence=0.9)
    assert list(table) == CALIBRATION
    together = {
        "time_days": np.concatenate([one.part.time_days for one in own]),
        "event": np.concatenate([one.part.event for one in own]),
    }
    for column, day in enumerate(HORIZONS):
        survival = np.concatenate([one.survival[:, column] for one in own])
        expected = calibrate(survival=survival, horizon_days=day, confidence=0.9, **together)
        rows = table[table["at_days"] == day]
        assert rows["bin"].tolist() == [0, 1, 2, 3, 4, 5]
        assert rows["observed"].tolist()[1:] == [one.observed for one in expected.bins]
        assert rows["low"].tolist()[1:] == [one.low for one in expected.bins]
        whole = rows.iloc[0]
        assert (whole["n"], whole["ratio"], whole["difference"]) == (160, expected.ratio, expected.difference)
        assert whole["predicted"] == pytest.approx(survival.mean())
    assert table.loc[table["bin"] > 0, ["ratio", "difference"]].isna().all(axis=None)


def test_a_part_without_a_prediction_so_late_is_left_out_and_counted():
    late = prediction(1, 0)
    late = replace(late, survival=np.column_stack([late.survival[:, 0], np.full(80, np.nan)]))
    table = calibration_table({"m": [prediction(0, 0), late]}, confidence=0.95)
    whole = table[table["bin"] == 0].set_index("at_days")
    assert whole["n"].tolist() == [160, 80]
    assert whole["missing"].tolist() == [0, 80]
    alone = calibration_table({"m": [late]}, confidence=0.95)
    row = alone[alone["at_days"] == 900].iloc[0]
    assert np.isnan(row["observed"])
    assert row["reason"] == "no prediction so late for any of 80 patients"
    other = replace(late, survival=late.survival[:, :1], horizons_days=HORIZONS[:1])  # evaluated with other horizons
    assert calibration_table({"m": [prediction(0, 0), other]}, confidence=0.95).equals(table)


def test_hazards_are_those_of_the_first_fit():
    parts, _ = study(waning=True)
    again = [replace(part, seed=1, risk=-part.risk) for part in parts]
    table = hazards_table({"m": [*again, *parts], "flat": [replace(part, risk=0 * part.risk) for part in parts]})
    assert list(table) == HAZARDS
    expected = proportional_hazards(parts)
    assert table.loc[0, ["seed", "p", "correlation"]].tolist() == [0, expected.p, expected.correlation]
    assert np.isnan(table.loc[1, "p"])
    assert "constant" in table.loc[1, "reason"]


def test_added_value_of_each_covariate_and_of_all():
    parts, ages = study(of_risk=0.7)
    stage = {name: number % 4 + 1 for number, name in enumerate(ages)}
    race = {name: "abc"[number % 3] for number, name in enumerate(ages)}
    known = covariates(age=ages, stage={name: f"G{value}" for name, value in stage.items()}, race=race)
    table = added_table({"m": parts}, known)
    assert list(table) == ADDED
    table = table.set_index("covariate")
    assert list(table.index) == ["age", "stage", "race", ALL_COVARIATES]
    of_age = added_value(parts, covariates=[ages])
    assert table.loc["age", "p_risk"] == pytest.approx(of_age.p_risk)
    assert table.loc["age", "c_covariate"] == pytest.approx(of_age.c_covariate.value)
    assert table.loc["race", ["verdict", "n"]].tolist() == ["not tested", 0]
    assert table.loc["race", "reason"] == "3 values that are neither numbers nor stages, such as a, c"
    both = added_value(parts, covariates=[ages, {name: float(value) for name, value in stage.items()}])
    assert table.loc[ALL_COVARIATES, "p_covariate"] == pytest.approx(both.p_covariate)
    assert table.loc[ALL_COVARIATES, "scale"] == "age, stage"
    assert table.loc["age", ["b_alone", "b_risk"]].tolist() == pytest.approx([of_age.b_alone, of_age.b_risk])
    assert table.loc["age", "verdict"] == "adds"


def test_an_inverted_risk_points_the_wrong_way_and_does_not_add():
    parts, ages = study(of_risk=0.7)
    inverted = [replace(part, risk=-part.risk) for part in parts]
    (right, wrong) = added_table({"m": parts, "inverted": inverted}, covariates(age=ages)).to_dict("records")
    assert wrong["p_risk"] == pytest.approx(right["p_risk"])
    assert wrong["p_risk"] < 0.05
    assert (right["verdict"], wrong["verdict"]) == ("adds", "points the wrong way")


def test_the_sign_is_that_beside_the_covariate_not_that_of_the_risk_alone():
    parts, ages = study(n=200, of_risk=0.7, of_age=2)
    of_age = [np.array([ages[str(name)] for name in part.patient_id]) for part in parts]
    # By itself it orders patients against their age, the stronger factor; beside the age it tells what age does not.
    against = [
        replace(part, risk=part.risk / part.risk.std() - (age - 60) / 10)
        for part, age in zip(parts, of_age, strict=True)
    ]
    (row,) = added_table({"m": against}, covariates(age=ages)).to_dict("records")
    assert row["p_alone"] < 0.05
    assert row["b_alone"] < 0 < row["b_risk"]
    assert row["verdict"] == "adds"


def test_the_verdicts_tell_a_risk_that_is_age_from_one_that_is_noise():
    parts, ages = study(n=200, of_risk=0, of_age=0.8, seed=1)
    generator = np.random.default_rng(3)
    is_age = [
        replace(part, risk=np.array([ages[str(name)] for name in part.patient_id]) + generator.normal(0, 3, 200))
        for part in parts
    ]
    youth = [replace(part, risk=-part.risk) for part in is_age]
    models = {"age": is_age, "youth": youth, "noise": parts}
    table = added_table(models, covariates(age=ages)).set_index("model")
    assert table.loc["age", "verdict"] == "nothing shown beyond it"
    assert table.loc["youth", "verdict"] == "points the wrong way"  # by itself; beside age nothing shows
    assert table.loc["noise", "verdict"] == "nothing shown"
    exact = [replace(part, risk=np.array([ages[str(name)] for name in part.patient_id])) for part in parts]
    (row,) = added_table({"exact": exact[:1]}, covariates(age=ages)).to_dict("records")
    assert row["verdict"] == "not tested"  # one part: nothing tells the two apart
    assert "collinear" in row["reason"]


def test_no_covariates_no_rows():
    parts, _ = study()
    assert added_table({"m": parts}, covariates()).empty
