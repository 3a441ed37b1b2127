"""The search of learning rate and weight decay: what is tried, and what is kept."""

import math

import numpy as np
import pytest
from torch import nn

from tta_pipeline.config import Search, Train
from tta_pipeline.errors import InputError
from tta_pipeline.models.search import Fit, combinations, search

GRID = Train(search=Search(learning_rate=(0.1, 0.2), weight_decay=(0.0, 1.0)), epochs=7)


def found(losses: list[list[float]], *, epoch: int = 2) -> tuple[Train, Fit, list[dict[str, float]]]:
    """A search whose combinations have these validation losses by epoch."""

    def fit(number: int, _: Train) -> Fit:
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
    assert math.isnan(tried[0]["validation_cox"])


def test_no_defined_loss_is_an_error() -> None:
    with pytest.raises(InputError, match=r"train.search: expected a loss on the validation part .* any of 4 combin"):
        found([[math.nan, math.nan]] * 4)


def test_without_a_grid_the_recipe_is_trained_once() -> None:
    recipe, calls = Train(), []

    def fit(number: int, given: Train) -> Fit:
        calls.append((number, given))
        return Fit(nn.Identity(), {}, 1)  # type: ignore[arg-type]

    assert search(recipe, fit, objective="cox")[::2] == (recipe, [])
    assert calls == [(0, recipe)]
