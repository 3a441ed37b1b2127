"""Learning rate and weight decay, chosen on the validation part of the training fold: one small grid for all models."""

import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.config import Train
from tta_pipeline.errors import ConvergenceError, DivergedError, InputError
from tta_pipeline.models.batch import RiskModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """A trained network, its history by column, and the epoch (from 1) whose weights it holds.

    epochs_run: epochs that this job has trained; fewer than those of the history where it took up a state.
    """

    network: RiskModel
    history: dict[str, NDArray[np.float64]]
    epoch: int
    epochs_run: int = 0


def combinations(config: Train) -> list[Train]:
    """The recipe with each pair of values of its grid, the learning rate varying slowest; itself without a grid."""
    if config.search is None:
        return [config]
    pairs = itertools.product(config.search.learning_rate, config.search.weight_decay)
    return [
        config.model_copy(update={"search": None, "learning_rate": rate, "weight_decay": decay})
        for rate, decay in pairs
    ]


def search(
    config: Train, fit: Callable[[int, Train], Fit], *, objective: str
) -> tuple[Train, Fit, list[dict[str, float | str]]]:
    """Train with each combination, and keep the one of the lowest loss on the validation part.

    The loss is that of the weights which the combination ends with: of the last epoch, or of the epoch that
    `checkpoint: validation` chooses. Of equal ones the first is kept. A combination that diverges, or in which a
    solver does not converge, is lost, and the search goes on.

    Parameters
    ----------
    fit
        Number of a combination and its recipe -> what training makes of it, on training patients; its history holds
        `validation_<objective>`.
    objective
        Name of the loss that is compared.

    Returns
    -------
    recipe, fit, tried
        The combination that is kept, what it made, and a row of learning_rate, weight_decay and validation loss for
        each that was tried; the loss of one that was lost is NaN, with its `reason`. No row where the recipe has no
        grid.

    Raises
    ------
    InputError
        Every combination is lost.
    DivergedError, ConvergenceError
        The recipe has no grid, and its training fails so.
    """
    if config.search is None:
        return config, fit(0, config), []
    column, best = f"validation_{objective}", None
    tried: list[dict[str, float | str]] = []
    for number, recipe in enumerate(combinations(config)):
        found, loss, reason = _tried(fit, number, recipe, column=column)
        tried.append({"learning_rate": recipe.learning_rate, "weight_decay": recipe.weight_decay, column: loss})
        tried[-1] |= {"reason": reason} if reason else {}
        log.info("tried %s", _said(tried[-1]))
        if found is not None and (best is None or loss < best[0]):
            best = loss, recipe, found
    if best is None:
        raise InputError(
            f"train.search: expected a loss on the validation part to choose by, found none that is defined for any of "
            f"{len(tried)} combinations:\n  " + "\n  ".join(map(_said, tried)) + "\nList lower values of "
            "train.search.learning_rate, raise splits.validation_fraction, or leave train.search out."
        )
    return best[1], best[2], tried


def _tried(
    fit: Callable[[int, Train], Fit], number: int, recipe: Train, *, column: str
) -> tuple[Fit | None, float, str]:
    """What a combination makes, its loss and "", or nothing, NaN and the reason."""
    try:
        found = fit(number, recipe)
    except (DivergedError, ConvergenceError) as error:
        return None, math.nan, str(error)
    loss = float(found.history[column][found.epoch - 1]) if column in found.history else math.nan
    return (found, loss, "") if math.isfinite(loss) else (None, math.nan, f"{column} is not defined")


def _said(row: dict[str, float | str]) -> str:
    return " ".join(f"{key}={value}" if isinstance(value, str) else f"{key}={value:g}" for key, value in row.items())
