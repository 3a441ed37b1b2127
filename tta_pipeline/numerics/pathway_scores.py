"""One number per patient and gene set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.numerics.scaling import mean_and_scale

Floats = NDArray[np.float64]
Scaler = Mapping[str, NDArray[Any]]


def fit_scores(expression: NDArray[np.float32], *, members: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
    """Means and scales that `pathway_scores` needs, of the training patients.

    Parameters
    ----------
    expression
        (patients, genes), as in the table.
    members
        Gene columns of each set.

    Returns
    -------
    gene_mean, gene_scale (genes,), score_mean, score_scale (sets,), float32.
    """
    gene_mean, gene_scale = mean_and_scale([expression])
    scaler = {"gene_mean": gene_mean, "gene_scale": gene_scale}
    score_mean, score_scale = mean_and_scale([_means(expression, members=members, scaler=scaler)])
    return scaler | {"score_mean": score_mean, "score_scale": score_scale}


def pathway_scores(expression: NDArray[np.float32], *, members: Sequence[NDArray[np.int64]], scaler: Scaler) -> Floats:
    """Score of each set: the mean of its genes' standardised expression, standardised again.

    s_p = ( mean_{g in p} (x_g - m_g) / d_g - m_p ) / d_p, with means m and deviations d of the training patients. Each
    patient's scores depend on that patient alone.

    Returns
    -------
    (patients, sets)
    """
    scores = _means(expression, members=members, scaler=scaler)
    found: Floats = (scores - scaler["score_mean"]) / scaler["score_scale"]
    return found


def _means(expression: NDArray[np.float32], *, members: Sequence[NDArray[np.int64]], scaler: Scaler) -> Floats:
    z = (expression.astype(np.float64) - scaler["gene_mean"]) / scaler["gene_scale"]
    # Rows that lie whole in memory are summed alike, however many there are.
    return np.stack([np.ascontiguousarray(z[:, genes]).mean(axis=1) for genes in members], axis=1)
