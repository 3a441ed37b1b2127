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
