"""Scores of patients by a model in evaluation mode."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tta_pipeline.errors import DivergedError
from tta_pipeline.models.batch import Output, RiskModel, Scaler, collate

_PADDED_PATCHES = 65_536


def score(
    model: RiskModel,
    read: Callable[[str], NDArray[np.floating[Any]]],
    *,
    patient_id: Sequence[str],
    n_patches: Sequence[int],
    expression: NDArray[np.float32],
    scaler: Scaler,
    device: torch.device,
    places: Callable[[str], NDArray[np.float32]] | None = None,
) -> NDArray[np.float64]:
    """Scores of each patient from the bag that `read` gives; the model is left in evaluation mode.

    Patients are batched up to a number of padded patches. Dropout is off and no patch is drawn here, so the
    same weights and bags give the same scores.

    Parameters
    ----------
    read
        Patient identifier -> (patches, width), or the summary where the model summarises bags.
    n_patches
        (patients,), sizes of those bags; of no use where the model summarises them.
    expression
        (patients, genes), not yet standardised.
    places
        Patient identifier -> (patches, 3), as in `Batch`, where the patches of `read` are; for a model that needs it.

    Returns
    -------
    (patients, outputs) float64, finite.

    Raises
    ------
    DivergedError
        A score is NaN or infinite.
    """
    model.eval()
    scores: list[NDArray[np.float64]] = []
    sizes = [len(read(name)) for name in patient_id] if model.summarises else n_patches
    for rows in _batches(sizes):
        names = [patient_id[row] for row in rows]
        batch = collate(
            [read(name) for name in names],
            expression[rows],
            patient_id=names,
            scaler=scaler,
            device=device,
            summarised=model.summarises,
            places=None if places is None else [places(name) for name in names],
        )
        with torch.no_grad():
            output: Output = model(batch)
        scores.append(output.scores.double().cpu().numpy())
    found = np.concatenate(scores) if scores else np.empty((0, 1))
    bad = [name for name, row in zip(patient_id, found, strict=True) if not np.isfinite(row).all()]
    if bad:
        raise DivergedError(
            f"expected finite log-risks, found NaN or infinity for {len(bad)} of {len(found)} patients: "
            f"{', '.join(bad[:5])}. Check their features, or train with standardise_features."
        )
    return found


def _batches(n_patches: Sequence[int]) -> Iterator[list[int]]:
    rows: list[int] = []
    longest = 0
    for row, count in enumerate(n_patches):
        longest = max(longest, count)
        if rows and longest * (len(rows) + 1) > _PADDED_PATCHES:
            yield rows
            rows, longest = [], count
        rows.append(row)
    if rows:
        yield rows
