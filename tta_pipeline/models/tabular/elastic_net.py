"""Cox's model of pathway scores, with a penalty that selects."""

import numpy as np
from numpy.typing import NDArray
from sksurv.linear_model import CoxnetSurvivalAnalysis
from sksurv.util import Surv

from tta_pipeline import model_sections
from tta_pipeline.errors import ConvergenceError, InputError
from tta_pipeline.models.tabular.model import (
    EMPTY,
    Fitted,
    Floats,
    Table,
    converging,
    cox_baseline,
    cox_survival,
    linear,
)
from tta_pipeline.numerics.folds import partition
from tta_pipeline.numerics.partial_likelihood import held_out_log_likelihood, slope_at_zero
from tta_pipeline.numerics.pathway_scores import fit_scores, pathway_scores

_STEPS = 5  # from the first penalty to another


class ElasticNet:
    """log-risk = s b, with b the minimum of -l(b) / n + penalty [ ratio ||b||_1 + (1 - ratio) / 2 ||b||_2^2 ].

    l is Breslow's log partial likelihood, s the pathway scores. The path starts at the smallest penalty that selects
    nothing; the penalty with the largest cross-validated partial likelihood is taken, and where several have it the
    largest of them. No margin is asked for: any gain over the empty model is enough.

    An empty model is right more often than it looks. One gene of a set of k independent ones has a correlation of
    k^-1/2 with the set's score, and the cross-validated likelihood rises only where a score explains more than its fit
    costs, about 2 of the likelihood ratio statistic per coefficient (Akaike's criterion). A gene that puts 60 patients,
    40 of whom die, in the order of their times leaves a set of four a statistic of 2 to 17: of simulated cohorts one in
    four gets an empty model, with 5 inner folds as with 20; of cohorts without any signal three in four do. A set of
    that gene alone is always found.

    The parts are drawn patient by patient, even where `splits.group_by_site` keeps sites whole: train does not know of
    that key. Patients of one site then stand on both sides, which favours smaller penalties if sites differ; the test
    part is not touched by it.

    References
    ----------
    Simon, Friedman, Hastie, Tibshirani, J. Stat. Softw. 39 (2011) 5, eq. 4. Verweij, van Houwelingen, Stat. Med. 12
    (1993) 2305: cross-validated partial likelihood, and that it estimates what Akaike's criterion does.
    """

    def __init__(self, options: model_sections.ElasticNet):
        self._options = options

    def fit(self, table: Table, *, time_days: Floats, event: NDArray[np.bool_], seed: int) -> Fitted:
        """Choose the penalty by parts of the training patients, and fit all of them with it."""
        self._check(event)
        scaler = fit_scores(table.expression, members=table.pathways)
        scores = pathway_scores(table.expression, members=table.pathways, scaler=scaler)
        if not np.ptp(scores, axis=0).any():
            raise InputError(
                "elastic-net: expected a pathway score that differs between the training patients, found none. "
                "Check the expression of the gene sets."
            )
        outcomes = Surv.from_arrays(event, time_days)
        penalties = self._penalties(scores, time_days=time_days, event=event)
        gain = self._held_out(scores, time_days=time_days, event=event, penalties=penalties, seed=seed)
        chosen = int(np.argmax(gain))  # penalties fall: the first is the largest
        coefficients = self._at(scores, outcomes, penalty=penalties[chosen], first=penalties[0])
        selected = {name: float(one) for name, one in zip(table.names, coefficients, strict=True) if one != 0}
        notes = {"penalty": float(penalties[chosen]), "selected": selected, "chosen_on": "parts of the training part"}
        if not selected:
            notes["reason"] = EMPTY
        baseline = cox_baseline(linear(scores, coefficients), time_days=time_days, event=event)
        weights = {"coefficients": coefficients, "penalties": penalties[: len(gain)], "held_out_log_likelihood": gain}
        return Fitted(weights, scaler, baseline, notes)

    def risk(self, table: Table, fitted: Fitted) -> Floats:
        """The log-risk; 0 for everybody where the model is empty."""
        scores = pathway_scores(table.expression, members=table.pathways, scaler=fitted.scaler)
        return linear(scores, fitted.weights["coefficients"])

    def survival(self, days: Floats, *, table: Table, fitted: Fitted) -> Floats:
        """By Breslow's baseline hazard."""
        return cox_survival(days, log_risk=self.risk(table, fitted), baseline=fitted.baseline)

    def _check(self, event: NDArray[np.bool_]) -> None:
        folds = self._options.inner_folds
        if event.sum() < folds or len(event) < 2 * folds:
            raise InputError(
                f"elastic-net: expected at least {2 * folds} training patients and {folds} events for inner_folds = "
                f"{folds}, found {len(event)} and {event.sum()}. Lower inner_folds."
            )

    def _penalties(self, scores: Floats, *, time_days: Floats, event: NDArray[np.bool_]) -> Floats:
        """From the smallest that selects nothing, max_p |dl/db_p (0)| / (n ratio), down by one factor, (k,)."""
        options = self._options
        slope = slope_at_zero(scores, time_days=time_days, event=event)
        first = float(np.abs(slope).max()) / (len(event) * options.l1_ratio)
        found: Floats = np.geomspace(first, options.smallest_penalty * first, options.penalties)
        return found

    def _at(self, scores: Floats, outcomes: NDArray[np.void], *, penalty: float, first: float) -> Floats:
        """Coefficients for one penalty, (sets,), reached from the first of the path in a few steps.

        The library's path of a hundred steps ends where six in turn explain hardly more, which in weak data is before
        anything is selected; so short a path as this one it walks to its end.
        """
        steps = np.unique(np.geomspace(first, penalty, _STEPS))[::-1] if penalty < first else [penalty]
        with converging("elastic-net", remedy="Raise smallest_penalty, or lower l1_ratio."):
            model = CoxnetSurvivalAnalysis(l1_ratio=self._options.l1_ratio, alphas=steps).fit(scores, outcomes)
        assert model.coef_.shape[1] == len(steps), "the path ended early"
        return np.asarray(model.coef_[:, -1], dtype=np.float64)

    def _held_out(
        self, scores: Floats, *, time_days: Floats, event: NDArray[np.bool_], penalties: Floats, seed: int
    ) -> Floats:
        """Cross-validated log partial likelihood of each penalty, (k,).

        k is less than there are penalties where a part has no fit that converges, or where the likelihood has fallen by
        more than 1 per event from its best: smaller penalties only take longer.
        """
        folds = self._options.inner_folds
        part = partition(
            event=event,
            time_days=time_days,
            group=np.arange(len(event)),
            shares=np.full(folds, 1 / folds),
            seed=[seed],
        )
        parts = [
            (out, scores[~out], Surv.from_arrays(event[~out], time_days[~out]))
            for out in (part == fold for fold in range(folds))
        ]
        gain: list[float] = []
        for penalty in penalties:
            try:
                fits = [self._at(own, known, penalty=penalty, first=penalties[0]) for _, own, known in parts]
            except ConvergenceError:
                if not gain:
                    raise
                break
            gains = [
                held_out_log_likelihood(linear(scores, b)[:, None], held_out=out, time_days=time_days, event=event)[0]
                for b, (out, _, _) in zip(fits, parts, strict=True)
            ]
            gain.append(float(np.sum(gains)))
            if max(gain) - gain[-1] > event.sum():
                break
        return np.array(gain)
