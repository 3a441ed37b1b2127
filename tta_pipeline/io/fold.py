"""The patients of one role in one fold, and what ties a model to its genes."""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.config import BadSlides
from tta_pipeline.errors import InputError
from tta_pipeline.io.artifacts import Pathways
from tta_pipeline.io.bags import Bags
from tta_pipeline.io.study import Patient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """Patients of one role.

    time_days: float64 (patients,). event: bool (patients,). n_patches: int64 (patients,), at least 1; 0 where no bag is
    read.
    expression: float32 (patients, genes), as in the table.
    """

    patient_id: list[str]
    time_days: NDArray[np.float64]
    event: NDArray[np.bool_]
    n_patches: NDArray[np.int64]
    expression: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.patient_id)


def require(ids: Iterable[str], *, patients: dict[str, Patient], bad_slides: BadSlides) -> list[Patient]:
    """The patients of `ids`, in their order; one who lost all slides to the policy for bad slides is left out.

    Raises
    ------
    InputError
        A patient has no outcome or no features, and no slide may be left out.
    """
    named = list(ids)
    missing = [name for name in named if name not in patients]
    if missing and bad_slides.policy == "fail":
        raise InputError(
            f"expected outcome and features of {len(named)} patients of the splits, found none for {len(missing)}: "
            f"{', '.join(missing[:5])}. Run the cohort and splits stages again."
        )
    if missing:
        log.info("without usable slides, left out: %s", ", ".join(missing))
    return [patients[name] for name in named if name in patients]


def select(ids: Iterable[str], *, patients: dict[str, Patient], bags: Bags | None, pathways: Pathways) -> Group:
    """The patients of `ids` that have a usable bag, in the order of `ids`.

    Without bags, for models that read no features: those that have a usable slide by the tables, with 0 patches. They
    are the same patients, unless a feature file was damaged after its stage.

    Raises
    ------
    InputError
        A patient has no row in the expression artifact.
    """
    n_patches = dict.fromkeys(patients, 0) if bags is None else bags.n_patches
    usable = [name for name in ids if name in n_patches]
    row_of = {name: row for row, name in enumerate(pathways.patient_id)}
    missing = [name for name in usable if name not in row_of]
    if missing:
        raise InputError(
            f"expected expression of {len(usable)} patients, found none for {len(missing)}: "
            f"{', '.join(missing[:5])}. Run the pathways stage for this cohort again."
        )
    rows = np.array([row_of[name] for name in usable], dtype=np.int64)
    return Group(
        patient_id=usable,
        time_days=np.array([patients[name].time_days for name in usable], dtype=np.float64),
        event=np.array([patients[name].event for name in usable], dtype=bool),
        n_patches=np.array([n_patches[name] for name in usable], dtype=np.int64),
        expression=pathways.expression[rows],
    )


def digests(pathways: Pathways) -> dict[str, str]:
    """Fingerprints of what a model's pathway layers are tied to: the order of `genes`, and the `pathways` over it."""
    sets = [pathways.names, pathways.indptr.tolist(), pathways.indices.tolist()]
    return {"genes": _sha256(repr(pathways.genes)), "pathways": _sha256(repr(sets))}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
