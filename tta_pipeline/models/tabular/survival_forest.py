"""Random survival forest on pathway scores."""

import numpy as np
from numpy.typing import NDArray
from sksurv.ensemble import RandomSurvivalForest
from sksurv.util import Surv

from tta_pipeline import model_sections
from tta_pipeline.models.tabular.model import EMPTY, Fitted, Floats, Table
from tta_pipeline.numerics.forest import Forest, step_survival
from tta_pipeline.numerics.pathway_scores import fit_scores, pathway_scores


class SurvivalForest:
    """Trees of bootstrap samples, split where the log-rank statistic is largest; risk is ensemble mortality.

    References
    ----------
    Ishwaran, Kogalur, Blackstone, Lauer, Ann. Appl. Stat. 2 (2008) 841, sections 2 to 4.
    """

    def __init__(self, options: model_sections.SurvivalForest):
        self._options = options

    def fit(self, table: Table, *, time_days: Floats, event: NDArray[np.bool_], seed: int) -> Fitted:
        """Grow the trees, and keep them as arrays."""
        scaler = fit_scores(table.expression, members=table.pathways)
        scores = pathway_scores(table.expression, members=table.pathways, scaler=scaler)
        options = self._options
        grown = RandomSurvivalForest(
            n_estimators=options.trees,
            min_samples_split=options.min_samples_split,
            min_samples_leaf=options.min_samples_leaf,
            max_features=None if options.max_features == "all" else options.max_features,
            random_state=seed,
        ).fit(scores, Surv.from_arrays(event, time_days))
        forest = to_arrays(grown)
        notes = {} if (forest.left >= 0).any() else {"reason": EMPTY}
        return Fitted(vars(forest), scaler, {"time_days": np.unique(time_days)}, notes)

    def risk(self, table: Table, fitted: Fitted) -> Floats:
        """Ensemble mortality."""
        scores = pathway_scores(table.expression, members=table.pathways, scaler=fitted.scaler)
        return Forest(**fitted.weights).mortality(scores)

    def survival(self, days: Floats, *, table: Table, fitted: Fitted) -> Floats:
        """Mean of the leaves' Kaplan-Meier estimates."""
        scores = pathway_scores(table.expression, members=table.pathways, scaler=fitted.scaler)
        forest = Forest(**fitted.weights)
        last_day = float(fitted.baseline["time_days"][-1])
        return step_survival(days, survival=forest.survival(scores), event_days=forest.event_days, last_day=last_day)


def to_arrays(grown: RandomSurvivalForest) -> Forest:
    """The trees of a fitted forest of scikit-survival, node by node.

    Its leaves hold the cumulative hazard at every time of the training part, which jumps at few of them.
    """
    trees = [one.tree_ for one in grown.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)], dtype=np.int64)
    counts, jump_time, jump = zip(*(_jumps(tree, grown.is_event_time_) for tree in trees), strict=True)

    def children(side: str) -> NDArray[np.int64]:
        own = [getattr(tree, f"children_{side}") for tree in trees]
        return np.concatenate([np.where(nodes >= 0, nodes + root, -1) for nodes, root in zip(own, roots, strict=False)])

    return Forest(
        roots=roots[:-1],
        left=children("left"),
        right=children("right"),
        feature=np.concatenate([tree.feature for tree in trees]).astype(np.int64),
        threshold=np.concatenate([tree.threshold for tree in trees]).astype(np.float64),
        jump_start=np.cumsum([0, *np.concatenate(counts)], dtype=np.int64),
        jump_time=np.concatenate(jump_time).astype(np.int64),
        jump=np.concatenate(jump).astype(np.float64),
        event_days=np.asarray(grown.unique_times_[grown.is_event_time_], dtype=np.float64),
    )


def _jumps(tree: object, is_event_time: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Of one tree: number of jumps of each node, their indices among the event times, and their sizes."""
    hazard = tree.value[:, is_event_time, 0]  # type: ignore[attr-defined]  # (nodes, times)
    sizes = np.diff(hazard, axis=1, prepend=0.0)
    sizes[tree.children_left >= 0] = 0.0  # type: ignore[attr-defined]
    node, time = np.nonzero(sizes)
    return np.bincount(node, minlength=len(sizes)), time, sizes[node, time]
