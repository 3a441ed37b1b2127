"""Which of a patient's samples stands for the patient."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Project, tissue source site, participant; then sample type and vial; then portion and analyte, plate, centre.
_BARCODE = re.compile(r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})(?:-(\d{2})[A-Z]?)?(?:[-. ].*)?")
NAMES = {
    "01": "primary solid tumour",
    "02": "recurrent solid tumour",
    "03": "primary blood-derived cancer, peripheral blood",
    "05": "additional new primary",
    "06": "metastatic",
    "07": "additional metastatic",
    "10": "blood-derived normal",
    "11": "solid tissue normal",
    "20": "control",
}


@dataclass(frozen=True)
class LeftOut:
    """A sample that is not used, and why."""

    label: str
    patient_id: str
    reason: str


def patient_of(label: str) -> str:
    """The case of a TCGA barcode, whatever follows it; any other label is the patient itself."""
    found = _BARCODE.fullmatch(label)
    return found.group(1) if found else label


def type_of(label: str) -> str:
    """Sample type of a TCGA barcode, such as 01; "" where the label has none."""
    found = _BARCODE.fullmatch(label)
    return (found.group(2) or "") if found else ""


def choose(labels: Sequence[str], *, types: Sequence[str]) -> tuple[dict[str, int], list[LeftOut]]:
    """Position of the one sample that stands for each patient, in the order of their first sample; and the others.

    Samples of another type than `types` are left out; a label without a type counts as of the first. Of several samples
    of a patient the type that `types` names first is used, then the barcode that sorts last, as Broad's GDAC does with
    replicates, and of equal labels the first.
    """
    kept: dict[str, int] = {}
    left_out: list[LeftOut] = []
    rank = {kind: position for position, kind in enumerate(types)}
    for position, label in enumerate(labels):
        patient, kind = patient_of(label), type_of(label)
        if kind and kind not in rank:
            left_out.append(LeftOut(label, patient, f"sample type {kind} ({NAMES.get(kind, 'unknown')})"))
            continue
        before = kept.get(patient)
        if before is None:
            kept[patient] = position
            continue
        old = labels[before]
        ranks = rank.get(kind, 0), rank.get(type_of(old), 0)
        better = ranks[0] < ranks[1] or (ranks[0] == ranks[1] and label > old)
        kept[patient] = position if better else before
        used, dropped = (label, old) if better else (old, label)
        why = "the first sample of that label is used" if used == dropped else f"{used} of the patient is used"
        left_out.append(LeftOut(dropped, patient, why))
    return kept, left_out
