"""The search of learning rate and weight decay: what is tried, and what is kept."""

import math

import numpy as np
import pytest
from torch import nn

from tta_pipeline.config import Search, Train
from tta_pipeline.errors import ConvergenceError, DivergedError, InputError
from tta_pipeline.models.search import Fit, combinations, search

GRID = Train(search=Search(learning_rate=(0.1, 0.2), weight_decay=(0.0, 1.0)), epochs=7)


def found(losses: list[list[float]], *, epoch: int = 2) -> tuple[Train, Fit, list[dict[str, float | str]]]:
    """A search whose combinations have these validation losses by epoch; one that has none diverges."""

    def fit(number: int, _: Train) -> Fit:
        if not losses[number]:
            raise DivergedError(f"expected finite log-risks, found NaN for P{number}")
        return Fit(nn.Identity(), {"validation_cox": np.array(losses[number])}, epoch)  # type: ignore[arg-type]

    return search(GRID, fit, objective="cox")


def test_every_pair_is_tried_with_everything_else_as_it_is() -> None:
    recipes = combinations(GRID)
    assert [(one.learning_rate, one.weight_decay) for one in recipes] == [(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]
    assert {one.epochs for one in recipes} == {7}
    assert all(one.search is None for one in recipes)


def test_the_lowest_loss_of_the_kept_weights_wins() -> None:
    """The second has the lowest loss of all in an epoch whose weights are not kept."""
    recipe, fit, tried = found([[1, 5], [0, 6], [9, 4], [2, 7]])
    assert (recipe.learning_rate, recipe.weight_decay) == (0.2, 0.0)
    assert fit.history["validation_cox"].tolist() == [9, 4]
    assert [row["validation_cox"] for row in tried] == [5, 6, 4, 7]
    assert (tried[3]["learning_rate"], tried[3]["weight_decay"]) == (0.2, 1.0)


def test_of_equal_losses_the_first_is_kept_and_undefined_ones_never_are() -> None:
    recipe, _, tried = found([[math.nan, math.nan], [1, 3], [1, 3], [1, 4]])
    assert (recipe.learning_rate, recipe.weight_decay) == (0.1, 1.0)
    assert math.isnan(float(tried[0]["validation_cox"]))
    assert tried[0]["reason"] == "validation_cox is not defined"
    assert all("reason" not in row for row in tried[1:])


def test_a_combination_that_diverges_is_lost_and_the_others_are_tried() -> None:
    recipe, fit, tried = found([[], [1, 3], [], [1, 2]])
    assert (recipe.learning_rate, recipe.weight_decay) == (0.2, 1.0)
    assert fit.history["validation_cox"].tolist() == [1, 2]
    assert math.isnan(float(tried[2]["validation_cox"]))
    assert tried[2]["reason"] == "expected finite log-risks, found NaN for P2"
    assert [row["validation_cox"] for row in tried[1::2]] == [3, 2]


def test_where_every_combination_is_lost_one_message_says_why() -> None:
    with pytest.raises(InputError, match=r"train.search: expected a loss .* any of 4 combinations:") as caught:
        found([[math.nan, math.nan], [], [], [1, math.inf]])
    lines = str(caught.value).splitlines()
    nan = "validation_cox=nan reason="
    assert lines[1:5] == [
        f"  learning_rate=0.1 weight_decay=0 {nan}validation_cox is not defined",
        f"  learning_rate=0.1 weight_decay=1 {nan}expected finite log-risks, found NaN for P1",
        f"  learning_rate=0.2 weight_decay=0 {nan}expected finite log-risks, found NaN for P2",
        f"  learning_rate=0.2 weight_decay=1 {nan}validation_cox is not defined",
    ]
    assert "lower values of train.search.learning_rate" in lines[5]


def test_so_is_one_whose_solver_does_not_converge() -> None:
    def fit(number: int, _: Train) -> Fit:
        if number == 1:
            raise ConvergenceError("optimal transport: expected a residual of at most 1e-3")
        return Fit(nn.Identity(), {"validation_cox": np.array([number])}, 1)  # type: ignore[arg-type]

    _, _, tried = search(GRID, fit, objective="cox")
    assert tried[1]["reason"] == "optimal transport: expected a residual of at most 1e-3"


def test_no_other_error_is_taken_for_a_divergence() -> None:
    def fit(number: int, _: Train) -> Fit:
        raise InputError("patients that the model cannot take")

    with pytest.raises(InputError, match="patients that the model cannot take"):
        search(GRID, fit, objective="cox")


def test_a_recipe_without_a_grid_that_diverges_stops() -> None:
    def fit(number: int, _: Train) -> Fit:
        raise DivergedError("expected finite log-risks")

    with pytest.raises(DivergedError, match="expected finite log-risks"):
        search(Train(), fit, objective="cox")


def test_without_a_grid_the_recipe_is_trained_once() -> None:
    recipe, calls = Train(), []

    def fit(number: int, given: Train) -> Fit:
        calls.append((number, given))
        return Fit(nn.Identity(), {}, 1)  # type: ignore[arg-type]

    assert search(recipe, fit, objective="cox")[::2] == (recipe, [])
    assert calls == [(0, recipe)]
