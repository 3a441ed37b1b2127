"""Tables of metrics over time: which parts they average, and what they keep when one is undefined."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tta_pipeline.numerics import scores
from tta_pipeline.numerics.bootstrap import Sampling
from tta_pipeline.numerics.metrics import Fold
from tta_pipeline.numerics.scores import MODELS, PARTS, Prediction, cut_at_tau
from tta_pipeline.numerics.time_metrics import Outcomes, uno_c

N = 80
HORIZONS, DAYS = np.array([300.0, 900.0]), np.linspace(1, 2500, 40)
SAMPLING = Sampling(200, seed=0, confidence=0.9)
TRAINING = Outcomes(np.linspace(1, 9000, 200), np.arange(200) % 2 == 0)


def score_parts(models, *, training):
    return scores.score_parts(models, training=training, sampling=SAMPLING)


def summarise_scores(parts, drawn):
    return scores.summarise_scores(parts, drawn, confidence=SAMPLING.confidence)


def prediction(fold: int, seed: int, *, events: bool = True) -> Prediction:
    generator = np.random.default_rng([fold, seed])
    risk, times = generator.normal(size=N), np.random.default_rng(fold).exponential(900, size=N) + 1
    part = Fold(
        repeat=0,
        fold=fold,
        seed=seed,
        patient_id=np.array([f"p{fold}-{row}" for row in range(N)]),
        risk=risk,
        time_days=times,
        event=(np.arange(N) % 3 > 0) & events,
    )

    def survival(days: np.ndarray) -> np.ndarray:
        return np.exp(-days / 900 * np.exp(0.3 * risk)[:, None])

    return Prediction(part, survival(HORIZONS), HORIZONS, survival(DAYS), DAYS)


def test_every_part_has_every_metric_once() -> None:
    models = {"m": [prediction(0, 0), prediction(1, 0)]}
    table, drawn = score_parts(models, training=dict.fromkeys([(0, 0), (0, 1)], TRAINING))
    assert drawn.shape == (len(table), SAMPLING.samples)
    assert list(table) == PARTS
    assert table.groupby(["fold", "metric"]).size().to_dict() == {
        (fold, metric): count
        for fold in (0, 1)
        for metric, count in {"uno_c": 1, "auc": 2, "brier": 2, "ibs": 1}.items()
    }
    part = prediction(1, 0).part
    expected = uno_c(risk=part.risk, test=Outcomes(part.time_days, part.event), train=TRAINING).value
    assert table[(table["fold"] == 1) & (table["metric"] == "uno_c")]["value"].tolist() == [pytest.approx(expected)]


def test_seeds_are_averaged_before_folds() -> None:
    predictions = [prediction(fold, seed) for fold in (0, 1) for seed in (0, 1, 2)]
    parts, drawn = score_parts({"m": predictions}, training=dict.fromkeys([(0, 0), (0, 1)], TRAINING))
    table = summarise_scores(parts, drawn)
    assert list(table) == MODELS
    own = parts[parts["metric"] == "uno_c"].groupby("fold")["value"].mean()
    row = table[table["metric"] == "uno_c"].iloc[0]
    assert (row["mean"], row["std_folds"]) == (pytest.approx(own.mean()), pytest.approx(own.std(ddof=1)))
    assert table["at_days"].dropna().tolist() == [300, 900, 300, 900]


def test_an_undefined_part_is_counted_and_not_averaged() -> None:
    models = {"m": [prediction(0, 0), prediction(1, 0, events=False)]}
    parts, drawn = score_parts(models, training=dict.fromkeys([(0, 0), (0, 1)], TRAINING))
    assert parts.loc[parts["fold"] == 1, "reason"].str.startswith("no events among 80 patients").all()
    table = summarise_scores(parts, drawn)
    assert (table["n_parts"] == 2).all()
    assert table["reason"].str.startswith("no events among 80 patients").all()
    assert (table["n_defined"] == 1).all()
    alone = summarise_scores(parts[parts["fold"] == 0], drawn)
    np.testing.assert_allclose(table[["mean", "low", "high"]], alone[["mean", "low", "high"]])


def test_a_prediction_is_scored_against_its_own_training_part() -> None:
    part = prediction(0, 0)
    censored = replace(TRAINING, event=np.arange(200) % 10 == 0)
    one, other = (
        score_parts({"m": [part]}, training={(0, 0): train})[0].set_index("metric")["value"]["uno_c"]
        for train in (TRAINING, censored)
    )
    assert one != other


def test_each_part_says_where_it_is_cut_and_who_is_beyond() -> None:
    one = prediction(0, 0)
    tau = float(np.median(one.part.time_days))
    short = Outcomes(np.minimum(TRAINING.time_days, tau), TRAINING.event)
    table, _ = score_parts({"m": [one]}, training={(0, 0): short})
    assert (table["tau_days"] == tau).all()
    assert (table["n_beyond"] == N // 2).all()
    assert table.loc[table["metric"] == "uno_c", "at_days"].tolist() == [tau]
    ibs = table[table["metric"] == "ibs"].iloc[0]
    assert ibs["from_days"] < ibs["at_days"] < tau
    assert table.loc[table["metric"] != "ibs", "from_days"].isna().all()


def test_patients_beyond_tau_are_counted_once_whatever_repeats_seeds_and_models() -> None:
    tau = {(repeat, fold): 100.0 * (1 + repeat) + fold for repeat in (0, 1) for fold in (0, 1)}
    parts = pd.DataFrame(
        [
            (model, repeat, fold, seed, metric, 5.0, tau[repeat, fold] - 50, tau[repeat, fold], 3 + fold + 10 * repeat)
            for model in ("a", "b")
            for repeat, fold in tau
            for seed in (0, 1)
            for metric in ("uno_c", "ibs")
        ],
        columns=["model", "repeat", "fold", "seed", "metric", "from_days", "at_days", "tau_days", "n_beyond"],
    )
    tested = parts[["model", "repeat", "fold", "seed"]].drop_duplicates().assign(n_test=20)
    assert cut_at_tau(parts, tested=tested) == {
        "low": 100.0,
        "high": 201.0,
        "patients": 3 + 4,
        "of": 40,
        "ibs_low": 5.0,
        "ibs_high": 151.0,
    }


def test_the_interval_of_a_mean_is_of_the_mean_over_folds_of_each_sample() -> None:
    predictions = [prediction(fold, seed) for fold in (0, 1) for seed in (0, 1, 2)]
    parts, drawn = score_parts({"m": predictions}, training=dict.fromkeys([(0, 0), (0, 1)], TRAINING))
    table = summarise_scores(parts, drawn)
    for metric in ("uno_c", "ibs"):
        own = (parts["metric"] == metric).to_numpy()
        by_fold = drawn[own].reshape(2, 3, -1).mean(axis=1)
        row = table[table["metric"] == metric].iloc[0]
        assert [row["low"], row["high"]] == pytest.approx(np.quantile(by_fold.mean(axis=0), [0.05, 0.95]))
        assert row["low"] < row["mean"] < row["high"]
        within = [of["value"].var(ddof=1) for _, of in parts[own].groupby("fold")]
        assert row["std_seeds"] == pytest.approx(np.sqrt(np.mean(within)))
    alone = parts.iloc[0]
    assert [alone["low"], alone["high"]] == pytest.approx(np.quantile(drawn[0], [0.05, 0.95]))
