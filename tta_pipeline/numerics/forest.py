"""Predictions of a survival forest that is held in arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Forest:
    """All trees, their nodes one after the other.

    roots: (trees,) first node of each tree.
    left, right: (nodes,) children, by number over all trees; -1 at a leaf.
    feature, threshold: (nodes,) a row goes left where its feature, as float32, is at most the threshold.
    jump_start: (nodes + 1,) jumps of node v are `jump_start[v]:jump_start[v + 1]`; an inner node has none.
    jump_time: (jumps,) index into `event_days`, ascending within a leaf. jump: (jumps,) hazard d/n there, d events of n
    patients at risk in the leaf: a leaf's hazard is 0 at all other times, and few of them are stored.
    event_days: (times,) distinct times of events of the training patients.
    """

    roots: Ints
    left: Ints
    right: Ints
    feature: Ints
    threshold: Floats
    jump_start: Ints
    jump_time: Ints
    jump: Floats
    event_days: Floats

    def mortality(self, table: Floats) -> Floats:
        """Ensemble mortality of each row: the mean over trees of sum_k H(t_k) over the event times, (rows,).

        H is the leaf's Nelson-Aalen estimate, so that a jump at t_k counts once for each time from t_k on.

        References
        ----------
        Ishwaran, Kogalur, Blackstone, Lauer, Ann. Appl. Stat. 2 (2008) 841, sections 3 and 4.
        """
        later = np.cumsum(np.append(0.0, self.jump * (len(self.event_days) - self.jump_time)))
        of_node = later[self.jump_start[1:]] - later[self.jump_start[:-1]]  # (nodes,)
        found: Floats = of_node[self.leaves(table)].mean(axis=1)
        return found

    def survival(self, table: Floats) -> Floats:
        """Survival of each row at each event time: the mean over trees of the leaf's Kaplan-Meier estimate.

        Returns
        -------
        (rows, times), not ascending.
        """
        total = np.zeros((len(table), len(self.event_days)))
        for reached in self.leaves(table).T:  # one tree at a time: (rows,)
            nodes, of_row = np.unique(reached, return_inverse=True)
            total += np.cumprod(1 - self._hazards(nodes), axis=1)[of_row]
        return total / len(self.roots)

    def leaves(self, table: Floats) -> Ints:
        """The leaf that each row comes to in each tree, (rows, trees)."""
        values = table.astype(np.float32)
        row = np.arange(len(values))[:, None]
        node = np.tile(self.roots, (len(values), 1))
        while (inner := self.left[node] >= 0).any():
            goes_left = values[row, np.where(inner, self.feature[node], 0)] <= self.threshold[node]
            node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
        return node

    def _hazards(self, nodes: Ints) -> Floats:
        hazards = np.zeros((len(nodes), len(self.event_days)))
        for row, node in enumerate(nodes):
            own = slice(self.jump_start[node], self.jump_start[node + 1])
            hazards[row, self.jump_time[own]] = self.jump[own]
        return hazards


def step_survival(days: Floats, *, survival: Floats, event_days: Floats, last_day: float) -> Floats:
    """Survival at any `days` from that at the event times: 1 before the first, NaN beyond `last_day`.

    Parameters
    ----------
    days
        (days,).
    survival
        (patients, times), at `event_days` (times,), ascending.
    last_day
        End of the support: the last time of a training patient, with an event or not.

    Returns
    -------
    (patients, days)
    """
    before_any = np.ones((len(survival), 1))
    found: Floats = np.concatenate([before_any, survival], axis=1)[:, np.searchsorted(event_days, days, side="right")]
    found[:, days > last_day] = np.nan
    return found
