"""Tables of results: what is averaged over what, and paired differences."""

from dataclasses import replace

import numpy as np
import pytest

from tests.numerics.test_metrics import fold
from tta_pipeline.config import Report
from tta_pipeline.numerics.bootstrap import Sampling, bootstrap_pooled_c, draw_patients
from tta_pipeline.numerics.comparison import holm
from tta_pipeline.numerics.metrics import harrell_c, pooled_c
from tta_pipeline.numerics.results import (
    bootstrap_models,
    c_intervals,
    c_per_fit,
    c_per_part,
    compare,
    summarise,
    with_intervals,
)
from tta_pipeline.reporting.result_tables import samples_drawn


def model(*, noise, repeats=1, folds=3, seeds=1):
    generator = np.random.default_rng(int(100 * noise))
    return [
        replace(part, risk=part.risk + generator.normal(0, noise, len(part.risk)))
        for repeat in range(repeats)
        for number in range(folds)
        for seed in range(seeds)
        for part in [fold(repeat=repeat, number=number, fit_seed=seed, seed=10 * repeat + number)]
    ]


def tables(models, **options):
    bootstrap = bootstrap_models(models, samples=200, seed=0)
    return summarise(models, bootstrap, confidence=0.95, **options).set_index("model"), bootstrap


def test_mean_and_std_are_over_folds_with_ddof_1_after_seeds():
    models = {"a": model(noise=0.5, repeats=2, seeds=3)}
    parts = c_per_part(models)
    row = tables(models)[0].loc["a"]
    per_fold = np.array([c["c_index"].mean() for _, c in parts.groupby(["repeat", "fold"])])
    assert len(per_fold) == 6
    assert row["c_mean"] == pytest.approx(per_fold.mean())
    first, second = per_fold[:3], per_fold[3:]  # of the two repeats
    assert row["c_std_folds"] == pytest.approx(np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2))
    assert row["c_std_repeats"] == pytest.approx(abs(first.mean() - second.mean()) / np.sqrt(2))
    within = [c["c_index"].var(ddof=1) for _, c in parts.groupby(["repeat", "fold"])]
    assert row["c_std_seeds"] == pytest.approx(np.sqrt(np.mean(within)))
    assert row["c_pooled"] == pytest.approx(c_per_fit(models)["c_index"].mean())
    assert row["c_low"] < row["c_pooled"] < row["c_high"]
    assert row[["n_repeats", "n_folds", "n_seeds", "n_parts", "n_defined"]].tolist() == [2, 6, 3, 18, 18]


def test_one_seed_has_no_spread_over_seeds():
    row = tables({"a": model(noise=0.5)})[0].loc["a"]
    assert np.isnan([row["c_std_seeds"], row["c_std_repeats"]]).all()


def test_a_fold_without_events_is_a_row_with_a_reason_and_the_mean_says_of_how_many():
    parts = model(noise=0.5)
    parts[1] = replace(parts[1], event=np.zeros(60, dtype=bool))
    table = c_per_part({"a": parts})
    assert table["c_index"].isna().tolist() == [False, True, False]
    assert table["reason"].tolist() == ["", "no events among 60 patients", ""]
    row = tables({"a": parts})[0].loc["a"]
    assert (row["n_defined"], row["n_parts"]) == (2, 3)
    assert row["c_mean"] == pytest.approx(table["c_index"].dropna().mean())
    assert row["reason"] == ""


def test_a_study_without_events_is_nan_with_a_reason():
    parts = [replace(part, event=np.zeros(60, dtype=bool)) for part in model(noise=0.5)]
    row = tables({"a": parts})[0].loc["a"]
    assert row[["c_mean", "c_pooled", "c_low", "c_high"]].isna().all()
    assert row["reason"] == "no comparable pairs in 3 test parts"


def test_the_true_risk_is_measured_on_the_same_parts_once_per_fold():
    parts = model(noise=2.0, seeds=2)
    truth = {}
    for part in parts:
        for name, time_days, event in zip(part.patient_id, part.time_days, part.event, strict=True):
            truth[str(name)] = event - time_days  # of two equal times, the event comes first
    row = tables({"a": parts}, true_risk=truth)[0].loc["a"]
    assert row["c_true_risk"] == 1
    assert np.isnan(tables({"a": parts})[0].loc["a", "c_true_risk"])


def test_a_model_does_not_differ_from_itself_and_differences_change_sign_with_the_order():
    good, bad = model(noise=0.1, folds=8), model(noise=30.0, folds=8)
    _, bootstrap = tables({"good": good, "same": good, "bad": bad})
    table = compare({"good": good, "same": good, "bad": bad}, bootstrap, confidence=0.95, n_train=100)
    pairs = table.set_index(["model_a", "model_b"])
    assert pairs.loc[("good", "same"), ["c_difference", "c_low", "c_high"]].tolist() == [0, 0, 0]
    assert pairs.loc[("good", "same"), "verdict"] == "no difference shown"
    apart = pairs.loc[("good", "bad")]
    assert apart["c_difference"] == pytest.approx(pooled_c(good).value - pooled_c(bad).value)
    assert 0 < apart["c_low"] < apart["c_difference"] < apart["c_high"]
    assert apart["verdict"] == "good higher"
    turned = compare({"bad": bad, "good": good}, bootstrap, confidence=0.95, n_train=100).iloc[0]
    assert turned[["c_low", "c_high"]].tolist() == pytest.approx([-apart["c_high"], -apart["c_low"]])
    assert turned["verdict"] == "good higher"
    assert turned["p_folds"] == pytest.approx(apart["p_folds"])


def test_the_verdict_rests_on_the_larger_p_corrected_by_holm_over_all_pairs():
    models = {"a": model(noise=0.1, folds=8), "b": model(noise=3.0, folds=8), "c": model(noise=30.0, folds=8)}
    _, bootstrap = tables(models)
    table = compare(models, bootstrap, confidence=0.95, n_train=100)
    larger = table[["p_bootstrap", "p_folds"]].max(axis=1)
    np.testing.assert_allclose(table["p_corrected"], holm(larger.to_list()))
    assert (table["p_corrected"] > larger).any()
    assert ((table["p_corrected"] < 0.05) == table["verdict"].str.endswith("higher")).all()
    small = compare(models, bootstrap, confidence=0.95, n_train=10)  # 60 test patients beside so few: nothing is shown
    assert (small["p_folds"] > table["p_folds"]).all()


def test_a_model_that_is_right_is_higher_than_each_of_eleven_that_guess():
    """By 66 pairs: with 1,000 samples the smallest p, 2 / 1001, would be 0.13 after the correction."""
    models = {"good": model(noise=0.1, folds=40)} | {f"guess {n}": model(noise=30.0 + n, folds=40) for n in range(11)}
    samples = samples_drawn(len(models), Report())
    assert samples > 2 * 66 / 0.05
    bootstrap = bootstrap_models(models, samples=samples, seed=0)
    table = compare(models, bootstrap, confidence=0.95, n_train=240)
    assert (table.loc[table["model_a"] == "good", "verdict"] == "good higher").all()
    assert (table.loc[table["model_a"] != "good", "verdict"] == "no difference shown").all()
    few = compare(models, {name: own[:1000] for name, own in bootstrap.items()}, confidence=0.95, n_train=240)
    assert (few["verdict"] == "no difference shown").all()


def test_one_test_part_is_no_comparison_however_large_the_difference():
    good, bad = model(noise=0.1, folds=1), model(noise=30.0, folds=1)
    _, bootstrap = tables({"good": good, "bad": bad})
    row = compare({"good": good, "bad": bad}, bootstrap, confidence=0.95, n_train=100).iloc[0]
    assert row["p_bootstrap"] < 0.05
    assert np.isnan(row["p_corrected"])
    assert (row["verdict"], row["reason"]) == ("not compared", "1 of 1 test parts have a difference")


def test_a_difference_without_spread_is_not_called_none_and_takes_no_place_among_the_tests():
    noise = [replace(part, time_days=part.time_days + 1e-3 * np.arange(60)) for part in model(noise=3.0)]  # no ties
    perfect = [replace(part, risk=-1e6 * part.time_days) for part in noise]
    constant = [replace(part, risk=np.zeros(60)) for part in noise]
    models = {"perfect": perfect, "constant": constant, "noise": noise, "again": noise}
    _, bootstrap = tables(models)
    table = compare(models, bootstrap, confidence=0.95, n_train=100).set_index(["model_a", "model_b"])
    row = table.loc[("perfect", "constant")]
    assert row["c_difference"] == 0.5
    assert (row["verdict"], row["reason"]) == ("not compared", "all 3 differences are 0.5")
    assert table.loc[("noise", "again"), ["p_folds", "p_corrected", "verdict"]].tolist() == [
        1,
        1,
        "no difference shown",
    ]
    tested = table.drop(("perfect", "constant"))
    np.testing.assert_allclose(tested["p_corrected"], holm(tested[["p_bootstrap", "p_folds"]].max(axis=1).to_list()))


def test_a_difference_above_what_is_detectable_is_the_one_that_is_called():
    """Of the clearest pair, by parts enough that the bootstrap does not decide."""
    models = {"good": model(noise=0.1, folds=8), "bad": model(noise=30.0, folds=8)}
    _, bootstrap = tables(models)
    for n_train in (2, 5, 10, 20, 100):
        row = compare(models, bootstrap, confidence=0.95, n_train=n_train).iloc[0]
        over_parts = c_per_part(models).pivot(index="fold", columns="model", values="c_index")
        difference = (over_parts["good"] - over_parts["bad"]).mean()
        assert (difference > row["c_detectable"]) == (row["p_folds"] < 0.05)
    assert row["verdict"] == "good higher"


def test_equal_models_are_a_tie_even_if_a_fold_has_no_events():
    parts = model(noise=1.0)
    parts[0] = replace(parts[0], event=np.zeros(60, dtype=bool))
    models = {"a": parts, "again": parts}
    row = compare(models, bootstrap_models(models, samples=200, seed=0), confidence=0.95, n_train=100).iloc[0]
    assert (row["p_folds"], row["verdict"], row["reason"]) == (1.0, "no difference shown", "")


def test_tests_that_point_to_different_models_show_no_difference():
    """One large part, in which a is right, and thirty small ones, in which b is: pooled a leads, over parts b."""
    large, small = fold(n=300, number=0, seed=0), [fold(n=8, number=n, seed=n) for n in range(1, 31)]
    noise = {part.fold: np.random.default_rng(part.fold).normal(0, 100, len(part.risk)) for part in small}
    models = {
        "a": [replace(part, risk=-part.time_days if part is large else part.time_days) for part in (large, *small)],
        "b": [replace(large, risk=large.time_days)]
        + [replace(part, risk=noise[part.fold] - part.time_days) for part in small],
    }
    row = compare(models, bootstrap_models(models, samples=1000, seed=0), confidence=0.95, n_train=1000).iloc[0]
    assert row["c_difference"] > 0
    assert max(row["p_bootstrap"], row["p_folds"]) < 0.05
    assert (row["p_corrected"], row["verdict"]) == (1.0, "no difference shown")
    assert row["reason"] == "over the patients one model is higher, over the test parts the other"


def test_parts_and_fits_have_the_intervals_of_their_own_patients():
    models = {"a": model(noise=0.5, repeats=2, seeds=2)}
    sampling = Sampling(300, seed=1, confidence=0.8)
    of_parts, of_fits = c_intervals(models, sampling=sampling)
    patient_id, weights = draw_patients(models["a"], samples=300, seed=1)
    parts, pooled = with_intervals(c_per_part(models), of_parts), with_intervals(c_per_fit(models), of_fits)
    for row, one in zip(parts.to_dict("records"), models["a"], strict=True):
        values = bootstrap_pooled_c([one], patient_id=patient_id, weights=weights)
        assert [row["c_low"], row["c_high"]] == pytest.approx(np.quantile(values, [0.1, 0.9]))
        assert row["c_low"] < row["c_index"] < row["c_high"]
    for row in pooled.to_dict("records"):
        own = [one for one in models["a"] if one.fit == (row["repeat"], row["seed"])]
        values = bootstrap_pooled_c(own, patient_id=patient_id, weights=weights)
        assert [row["c_low"], row["c_high"]] == pytest.approx(np.quantile(values, [0.1, 0.9]))
    assert (parts["reason"] == "").all()
    assert (pooled["reason"] == "").all()


def test_a_part_of_one_event_has_a_c_and_says_why_it_has_no_interval():
    part = fold(time_days=np.array([1.0, 2, 3]), event=np.array([True, False, False]), risk=np.array([3.0, 2, 1]))
    models = {"a": [part]}
    of_parts, _ = c_intervals(models, sampling=Sampling(400, seed=0, confidence=0.95))
    row = with_intervals(c_per_part(models), of_parts).iloc[0]
    assert row["c_index"] == 1
    assert np.isnan([row["c_low"], row["c_high"]]).all()
    assert row["reason"].endswith("of 400 bootstrap samples are undefined")


def test_models_of_other_seeds_are_not_compared():
    models = {"a": model(noise=0.1, seeds=2), "b": model(noise=0.1, seeds=2)[:-1]}
    row = compare(models, bootstrap_models(models, samples=100, seed=0), confidence=0.95, n_train=100).iloc[0]
    assert row["verdict"] == "not compared"


def test_pairing_is_narrower_than_two_separate_intervals():
    base = model(noise=0.1)
    near = [replace(part, risk=part.risk + 1e-2 * np.sin(np.arange(60))) for part in base]
    summary, bootstrap = tables({"base": base, "near": near})
    paired = compare({"base": base, "near": near}, bootstrap, confidence=0.95, n_train=100).iloc[0]
    assert paired["c_high"] - paired["c_low"] < 0.25 * (summary.loc["base", "c_high"] - summary.loc["base", "c_low"])


def test_models_on_other_patients_are_not_compared():
    first, second = model(noise=0.1), model(noise=0.1)[:2]
    models = {"first": first, "second": second}
    row = compare(models, bootstrap_models(models, samples=100, seed=0), confidence=0.95, n_train=100).iloc[0]
    assert np.isnan(row["c_difference"])
    assert row["verdict"] == "not compared"
    assert row["reason"] == "not tested on the same patients and folds"


def test_one_model_has_no_pairs():
    models = {"a": model(noise=0.1)}
    assert compare(models, bootstrap_models(models, samples=100, seed=0), confidence=0.95, n_train=100).empty


def test_c_per_part_is_harrells_c():
    part = fold(seed=5)
    row = c_per_part({"a": [part]}).iloc[0]
    c = harrell_c(risk=part.risk, time_days=part.time_days, event=part.event)
    assert (row["c_index"], row["n_pairs"], row["n_events"]) == (c.value, c.comparable, part.event.sum())
