"""Whole bags as a network summarises them, once per patient instead of in every step."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tta_pipeline.models.batch import RiskModel, Scaler, collate

Read = Callable[[str], NDArray[np.floating[Any]]]


def reader(network: RiskModel, read: Read, *, scaler: Scaler, device: torch.device) -> Read:
    """What `collate` is to be given of a patient: the bag that `read` gives, or its summary, which is kept.

    Parameters
    ----------
    network
        With `summarises`, fitted to the bags of the training patients.
    read
        Patient identifier -> (patches, width), always the same for a patient.
    scaler
        As in `collate`: what is summarised is what the network would have seen.

    Returns
    -------
    `read` itself for a network that reads patches; else patient identifier -> (tokens, width) float32.
    """
    if not network.summarises:
        return read

    @cache
    def summary(patient_id: str) -> NDArray[np.float32]:
        no_genes = np.empty((1, 0), dtype=np.float32)
        scaling = {key: value for key, value in scaler.items() if key.startswith("feature_")}
        empty = {"gene_mean": no_genes[0], "gene_scale": no_genes[0]}
        batch = collate([read(patient_id)], no_genes, patient_id=[patient_id], scaler=scaling | empty, device=device)
        with torch.no_grad():
            made: NDArray[np.float32] = network.summarise(batch)[0].float().cpu().numpy()
        return made

    return summary
