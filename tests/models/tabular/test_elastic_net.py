from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sksurv.linear_model import CoxnetSurvivalAnalysis, CoxPHSurvivalAnalysis
from sksurv.util import Surv

from tests.models.tabular.cohorts import SETS, cohort
from tta_pipeline import model_sections
from tta_pipeline.errors import InputError
from tta_pipeline.models.tabular.elastic_net import ElasticNet
from tta_pipeline.models.tabular.model import Table
from tta_pipeline.numerics.folds import partition
from tta_pipeline.numerics.metrics import harrell_c
from tta_pipeline.numerics.partial_likelihood import log_partial_likelihood
from tta_pipeline.numerics.pathway_scores import fit_scores, pathway_scores


def build(**options: Any) -> ElasticNet:
    return ElasticNet(model_sections.ElasticNet(architecture="elastic-net", **{"penalties": 30} | options))


def scores_of(table: Table) -> np.ndarray:
    scaler = fit_scores(table.expression, members=table.pathways)
    return pathway_scores(table.expression, members=table.pathways, scaler=scaler)


def test_the_set_that_carries_the_risk_is_selected_and_named() -> None:
    table, outcomes = cohort(200)
    fitted = build().fit(table, **outcomes, seed=0)
    selected = fitted.notes["selected"]
    assert max(selected, key=lambda name: abs(selected[name])) == "first"
    assert selected["first"] > 0.5
    best = int(np.argmax(fitted.weights["held_out_log_likelihood"]))
    assert fitted.notes["penalty"] == fitted.weights["penalties"][best]
    assert best > 0


def test_the_coefficients_are_the_optimum() -> None:
    """Karush, Kuhn and Tucker: the slope of the likelihood balances the penalty, and stays within it where b = 0."""
    table, outcomes = cohort(200)
    fitted = build(l1_ratio=0.7).fit(table, **outcomes, seed=0)
    scores = scores_of(table)
    b, penalty = fitted.weights["coefficients"], fitted.notes["penalty"]
    step = 1e-5
    moved = b + step * np.concatenate([np.eye(4), -np.eye(4)])
    likelihood = log_partial_likelihood(scores @ moved.T, **outcomes) / 200
    slope = (likelihood[:4] - likelihood[4:]) / (2 * step) - penalty * 0.3 * b
    chosen = b != 0
    assert chosen.any()
    np.testing.assert_allclose(slope[chosen], 0.7 * penalty * np.sign(b[chosen]), atol=1e-4)
    assert (np.abs(slope[~chosen]) <= 0.7 * penalty + 1e-4).all()


def test_the_first_penalty_selects_nothing_and_the_path_ends_where_asked() -> None:
    table, outcomes = cohort()
    penalties = build(penalties=20, smallest_penalty=0.1).fit(table, **outcomes, seed=0).weights["penalties"]
    assert len(penalties) == 20
    assert penalties[-1] == pytest.approx(0.1 * penalties[0])
    assert (np.diff(penalties) < 0).all()


def test_an_empty_model_gives_one_risk_c_one_half_and_its_reason() -> None:
    table, outcomes = cohort(effect=0.0, seed=1)
    model = build()
    fitted = model.fit(table, **outcomes, seed=0)
    assert fitted.notes["reason"] == "empty model"
    assert fitted.notes["selected"] == {}
    risk = model.risk(table, fitted)
    assert not risk.any()
    assert harrell_c(risk=risk, **outcomes).value == 0.5
    survival = model.survival(np.array([10.0]), table=table, fitted=fitted)
    assert np.ptp(survival) == 0
    assert 0 < survival[0, 0] < 1


def test_the_path_is_that_of_the_library_and_does_not_end_early() -> None:
    """In data without a signal the library's own path ends after six penalties."""
    for effect in (0.0, 1.0):
        table, outcomes = cohort(effect=effect)
        fitted = build(penalties=40).fit(table, **outcomes, seed=0)
        penalties = fitted.weights["penalties"]
        assert len(penalties) == 40
        scores = scores_of(table)
        theirs = CoxnetSurvivalAnalysis(l1_ratio=0.5, n_alphas=40, alpha_min_ratio=0.01)
        theirs.fit(scores, Surv.from_arrays(outcomes["event"], outcomes["time_days"]))
        reached = len(theirs.alphas_)
        np.testing.assert_allclose(penalties[:reached], theirs.alphas_, rtol=1e-6)
        assert (reached < 10) == (effect == 0)
        at = int(np.argmax(fitted.weights["held_out_log_likelihood"]))
        if at < reached:
            np.testing.assert_allclose(fitted.weights["coefficients"], theirs.coef_[:, at], atol=1e-4)


def brute_force(scores: np.ndarray, b: np.ndarray, *, time_days: np.ndarray, event: np.ndarray) -> float:
    """Breslow's log partial likelihood, one event after another."""
    risk = scores @ b
    return sum(risk[row] - np.log(np.exp(risk[time_days >= time_days[row]]).sum()) for row in np.flatnonzero(event))


def test_a_penalty_is_chosen_by_what_the_left_out_parts_add_to_the_likelihood() -> None:
    """Verweij and van Houwelingen, computed anew: the library's fits, and sums over events."""
    table, outcomes = cohort()
    fitted = build(penalties=6, smallest_penalty=0.1, inner_folds=4).fit(table, **outcomes, seed=3)
    scores = scores_of(table)
    event, time_days = outcomes["event"], outcomes["time_days"]
    shares = np.full(4, 0.25)
    part = partition(event=event, time_days=time_days, group=np.arange(len(event)), shares=shares, seed=[3])
    expected = np.zeros(6)
    for fold in range(4):
        own = part != fold
        known = Surv.from_arrays(event[own], time_days[own])
        path = CoxnetSurvivalAnalysis(l1_ratio=0.5, alphas=fitted.weights["penalties"]).fit(scores[own], known)
        for number, b in enumerate(path.coef_.T):
            kept = brute_force(scores[own], b, time_days=time_days[own], event=event[own])
            expected[number] += brute_force(scores, b, time_days=time_days, event=event) - kept
    np.testing.assert_allclose(fitted.weights["held_out_log_likelihood"], expected, atol=0.005)


def planted(n: int, *, seed: int) -> tuple[Table, dict[str, np.ndarray]]:
    """Gene 0 is minus the logarithm of the time, and stands in the set of four; all other genes are noise."""
    generator = np.random.default_rng(seed)
    expression, time_days = generator.standard_normal((n, 12)).astype(np.float32), generator.exponential(1000, n)
    expression[:, 0] = -np.log(time_days)
    sets = [np.array([4, 3, 5]), np.array([0, 1, 2, 3]), np.array([11, 6, 9, 8])]
    return Table(expression, sets, ["three", "four", "other"]), {"time_days": time_days, "event": np.arange(n) % 3 > 0}


def statistic(column: np.ndarray, *, time_days: np.ndarray, event: np.ndarray) -> float:
    """Twice the gain of the likelihood by one column, unpenalised."""
    b = CoxPHSurvivalAnalysis(ties="breslow").fit(column, Surv.from_arrays(event, time_days)).coef_
    both = np.stack([column @ b, np.zeros(len(column))], axis=1)
    return float(np.subtract(*log_partial_likelihood(both, time_days=time_days, event=event)) * 2)


@pytest.mark.parametrize(
    ("n", "seed", "low", "high", "empty"), [(60, 1, 2, 4, 6), (60, 2, 10, 20, 0), (240, 1, 20, 40, 0)]
)
def test_a_gene_watered_down_in_its_set_is_found_where_the_score_still_explains_enough(
    n: int, seed: int, low: float, high: float, empty: int
) -> None:
    """Which of ten draws of the inner parts are empty goes with the statistic of the score; Akaike's bound is 2."""
    table, outcomes = planted(n, seed=seed)
    scores = scores_of(table)
    assert 0.3 < np.corrcoef(scores[:, 1], table.expression[:, 0])[0, 1] < 0.6  # 4^-1/2 of many
    assert low < statistic(scores[:, [1]], **outcomes) < high
    fits = [build(penalties=10).fit(table, **outcomes, seed=seed) for seed in range(10)]
    assert sum(not one.notes["selected"] for one in fits) == pytest.approx(empty, abs=2 if empty else 0)
    alone = replace(table, pathways=[*table.pathways, np.array([0])], names=[*table.names, "alone"])
    selected = build(penalties=10).fit(alone, **outcomes, seed=0).notes["selected"]
    assert max(selected, key=lambda name: abs(selected[name])) == "alone"
    assert selected["alone"] > 5


def test_one_set_is_enough() -> None:
    table, outcomes = cohort()
    one = replace(table, pathways=SETS[:1], names=["only"])
    assert list(build().fit(one, **outcomes, seed=0).notes["selected"]) == ["only"]


def test_too_few_events_or_constant_scores_are_errors() -> None:
    table, outcomes = cohort()
    few = outcomes | {"event": np.arange(120) < 4}
    with pytest.raises(InputError, match=r"5 events for inner_folds = 5, found 120 and 4\. Lower inner_folds"):
        build().fit(table, **few, seed=0)
    with pytest.raises(InputError, match="expected a pathway score that differs"):
        build().fit(replace(table, expression=np.ones_like(table.expression)), **outcomes, seed=0)
