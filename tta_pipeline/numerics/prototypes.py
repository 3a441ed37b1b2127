"""Prototypes of patches: centres of clusters, fitted without labels.

References
----------
Song et al., "Morphological Prototyping for Unsupervised Slide Representation Learning", CVPR 2024, section 3.2.
Arthur, Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007: where each restart begins.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from tta_pipeline.errors import InputError

_LARGEST_SEED = 2**32


def fit_prototypes(
    tokens: NDArray[np.float32], *, count: int, seed: int, restarts: int = 3, rounds: int = 50
) -> NDArray[np.float32]:
    """Centres of K-means: the best of some restarts, by the sum of squared Euclidean distances to the nearest centre.

    On one thread, so that neither the number of cores nor their timing changes a bit of the result.

    Parameters
    ----------
    tokens
        (tokens, d), finite. They are worked on in place, and are what they were afterwards up to rounding.
    count
        Centres, at least 1.
    restarts, rounds
        Starts, and the most rounds after each; a start ends earlier where no token changes its centre.

    Returns
    -------
    (count, d) float32.

    Raises
    ------
    InputError
        Fewer different tokens than centres.
    """
    different = _different(tokens, most=count)
    if different < count:
        raise InputError(
            f"expected at least as many different patches of the training patients as prototypes (now {count}), found "
            f"{different}. Lower the model's prototypes."
        )
    random_state = seed % _LARGEST_SEED
    means = KMeans(count, n_init=restarts, max_iter=rounds, tol=0, copy_x=False, random_state=random_state)
    with threadpool_limits(1):
        centres: NDArray[np.float32] = means.fit(tokens).cluster_centers_.astype(np.float32)
    return centres


def _different(tokens: NDArray[np.float32], *, most: int) -> int:
    """Number of different tokens, counted up to `most`."""
    seen: set[bytes] = set()
    for token in tokens:
        seen.add((token + 0.0).tobytes())  # -0 is 0
        if len(seen) == most:
            break
    return len(seen)
