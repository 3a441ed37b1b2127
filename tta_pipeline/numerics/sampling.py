"""Batches of patients such that each has events to learn from."""

import numpy as np
from numpy.typing import NDArray


def stratified_batches(
    event: NDArray[np.bool_], *, batch_size: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Cut all patients into batches whose sizes, and whose numbers of events, differ by at most one.

    Patients with and without events are shuffled apart and dealt out like cards. A batch lacks events only
    where there are fewer events than batches.

    Parameters
    ----------
    event
        (patients,) bool.
    batch_size
        Largest size of a batch, at least 1.

    Returns
    -------
    Rows of the patients of each batch, in a random order of batches; every patient is in exactly one.
    """
    deck = np.concatenate([generator.permutation(np.flatnonzero(event)), generator.permutation(np.flatnonzero(~event))])
    count = -(-len(deck) // batch_size)
    return [deck[first::count] for first in generator.permutation(count)]


def weighted_batches(
    kind: NDArray[np.int64], *, batch_size: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """As many patients as there are, drawn with replacement such that every kind is equally frequent, in batches.

    It changes the rate of censoring that a model sees; published recipes draw so.

    Parameters
    ----------
    kind
        (patients,), such as the bin of the time and the event.
    batch_size
        Largest size of a batch, at least 1.
    """
    _, member, counts = np.unique(kind, return_inverse=True, return_counts=True)
    weight = 1.0 / counts[member]
    drawn = generator.choice(len(kind), size=len(kind), replace=True, p=weight / weight.sum())
    return [drawn[start : start + batch_size] for start in range(0, len(drawn), batch_size)]
