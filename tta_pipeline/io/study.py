"""The patients of a study with their inputs: joins of the pipeline's own tables, by identifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tta_pipeline import config
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import tables


@dataclass(frozen=True)
class Patient:
    """One patient: outcome and the feature files of all the patient's slides, in the order of their slide_id."""

    patient_id: str
    time_days: float
    event: bool
    features: tuple[Path, ...]


def read_feature_table(slides: Path, manifests: list[Path]) -> pd.DataFrame:
    """Slides with their feature file: columns slide_id, patient_id, file, excluded (reason or "").

    Ready-made files stand in the slides table itself; the others in the manifests of the features jobs.

    Raises
    ------
    ArtifactError
        A slide stands in no manifest.
    """
    sheet = tables.read_table(slides, columns=tables.SLIDES)
    made = [tables.read_table(path, columns=tables.MANIFEST) for path in manifests]
    rows = pd.concat(made) if made else pd.DataFrame({name: [] for name in tables.MANIFEST})
    by_slide = rows.drop_duplicates("slide_id", keep="last").set_index("slide_id")
    brought = sheet["features"] != ""
    missing = sheet.loc[~brought & ~sheet["slide_id"].isin(by_slide.index), "slide_id"]
    if len(missing):
        raise ArtifactError(
            f"{slides}: expected features of {len(sheet)} slides, found none for {len(missing)}: "
            f"{', '.join(missing[:5])}. Run the features stage."
        )
    return pd.DataFrame(
        {
            "slide_id": sheet["slide_id"],
            "patient_id": sheet["patient_id"],
            "file": sheet["features"].where(brought, sheet["slide_id"].map(by_slide["file"])),
            "excluded": sheet["slide_id"].map(by_slide["excluded"]).where(~brought, "").fillna(""),
        }
    ).astype("string")


def read_patients(
    *, patients: Path, slides: Path, manifests: list[Path], bad_slides: config.BadSlides
) -> dict[str, Patient]:
    """Patients with at least one usable slide, by identifier.

    Raises
    ------
    InputError
        More slides were left out than `bad_slides.limit` allows.
    """
    table = read_feature_table(slides, manifests)
    excluded = table[table["excluded"] != ""]
    if len(excluded) > bad_slides.limit:
        named = "; ".join(f"{row.slide_id}: {row.excluded}" for row in excluded.head(5).itertuples())
        raise InputError(
            f"expected at most bad_slides.limit = {bad_slides.limit} slides left out, found {len(excluded)} ({named}). "
            "Mend the slides, or raise the limit."
        )
    usable = table[table["excluded"] == ""].sort_values("slide_id")  # the patches that a seed draws are then the same
    files: dict[str, tuple[Path, ...]] = {}
    for patient_id, file in zip(usable["patient_id"], usable["file"], strict=True):
        files[patient_id] = (*files.get(patient_id, ()), Path(file))
    outcome = tables.read_table(patients, columns=tables.PATIENTS)
    return {
        patient_id: Patient(patient_id, float(time_days), bool(event), files[patient_id])
        for patient_id, time_days, event in zip(
            outcome["patient_id"], outcome["time_days"], outcome["event"], strict=True
        )
        if patient_id in files
    }


def read_role(splits: Path, *, repeat: int, fold: int, role: str) -> list[str]:
    """Identifiers of the patients that have `role` ("train", "validation", "test") in one fold, in file order."""
    table = tables.read_table(splits, columns=tables.SPLITS)
    chosen = table[(table["repeat"] == repeat) & (table["fold"] == fold)]
    if chosen.empty:
        raise InputError(f"{splits}: expected repeat {repeat}, fold {fold}, found none. Run the splits stage.")
    return [str(name) for name in chosen.loc[chosen["role"] == role, "patient_id"]]


def read_covariates(path: Path, *, ids: Sequence[str]) -> dict[str, list[str]]:
    """Covariate -> text of each patient of `ids`, in their order; "" where it is not known.

    Raises
    ------
    InputError
        The study names no covariates, or a patient is not in the table.
    """
    table = tables.read_table(path, columns=tables.COVARIATES)
    if table.empty:
        raise InputError(
            f"{path}: expected clinical covariates, found none. Name columns of the clinical table in "
            "inputs.covariates, such as age, sex, stage and grade."
        )
    names = list(dict.fromkeys(table["covariate"]))
    cells = dict(zip(zip(table["patient_id"], table["covariate"], strict=True), table["value"], strict=True))
    missing = [one for one in ids if any((one, name) not in cells for name in names)]
    if missing:
        raise InputError(
            f"{path}: expected covariates of {len(ids)} patients, found none for {len(missing)}: "
            f"{', '.join(missing[:5])}. Run the cohort stage again."
        )
    return {name: [str(cells[one, name]) for one in ids] for name in names}
