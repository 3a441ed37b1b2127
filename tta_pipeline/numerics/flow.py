"""Tables of who is in a study: steps at which patients and slides left, and events per role of each fold."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.metrics import Fold

_MOST_REASONS = 8
# How the reason begins where a slide is out because its patient is.
PATIENT_LEFT_OUT = "patient left out"
# The same where it is of a type that the study does not use.
OTHER_TYPE = "slide type"


def attrition_steps(
    attrition: pd.DataFrame,
    *,
    patients: pd.DataFrame,
    features: pd.DataFrame,
    left_later: Mapping[str, str],
    split: Collection[str] | None = None,
) -> pd.DataFrame:
    """How many patients and slides were there, left for which reason at which stage, and remained.

    Parameters
    ----------
    attrition
        Who left at the cohort stage: kind ("patient", "slide"), id, patient_id, stage, reason.
    patients
        Who stayed: patient_id.
    features
        Their slides: slide_id, patient_id, excluded (reason or "").
    left_later
        Slide -> reason, for feature files that training or evaluation could not use.
    split
        Patients who are in a part of the splits; None: all.

    Returns
    -------
    Columns kind, stage, reason, left, remaining; the first row of a kind has left = 0.
    """
    reason = features["excluded"].where(features["excluded"] != "", features["slide_id"].map(left_later)).fillna("")
    stage = pd.Series(np.where(features["excluded"] != "", "features", "train, evaluate"), index=features.index)
    has_slide = set(features.loc[reason == "", "patient_id"])
    gone = [
        *zip(attrition["kind"], attrition["stage"], attrition["reason"], strict=True),
        *(("slide", when, why) for when, why in zip(stage, reason, strict=True) if why),
        *(("patient", "features", "no usable slide") for name in patients["patient_id"] if name not in has_slide),
        *(
            ("patient", "splits", "in no part of the splits that are given")
            for name in patients["patient_id"]
            if split is not None and name in has_slide and name not in split
        ),
    ]
    rows: list[tuple[str, str, str, int, int]] = []
    for kind, stayed in (("patient", len(patients)), ("slide", len(features))):
        left = [(when, why) for what, when, why in gone if what == kind]
        remaining = stayed + sum(when == "cohort" for when, _ in left)
        rows.append((kind, "inputs", "candidates", 0, remaining))
        for (when, why), count in _counts(left).items():
            remaining -= count
            rows.append((kind, when, why, count, remaining))
    return pd.DataFrame(rows, columns=["kind", "stage", "reason", "left", "remaining"])


def bad_slides(attrition: pd.DataFrame, *, features: pd.DataFrame, left_later: Mapping[str, str]) -> pd.DataFrame:
    """Each slide that could not be used, of patients who are in: slide_id, patient_id, stage, reason.

    The parameters are those of `attrition_steps`.
    """
    early = attrition[
        (attrition["kind"] == "slide") & ~attrition["reason"].str.startswith((PATIENT_LEFT_OUT, OTHER_TYPE))
    ]
    later = features.assign(reason=features["slide_id"].map(left_later))
    made = [
        early.rename(columns={"id": "slide_id"}),
        features.rename(columns={"excluded": "reason"}).assign(stage="tiles, features"),
        later.assign(stage="train, evaluate"),
    ]
    columns = ["slide_id", "patient_id", "stage", "reason"]
    rows = pd.concat([table[columns].astype("string") for table in made], ignore_index=True)
    return rows[rows["reason"].fillna("") != ""].drop_duplicates("slide_id")


def describe_parts(table: pd.DataFrame) -> pd.DataFrame:
    """Patients, events and known sites of each part, and how many of its sites are known to train as well.

    Parameters
    ----------
    table
        repeat, fold, patient_id, role ("train", "validation", "test"), event (bool), site ("" where not known).

    Returns
    -------
    Columns repeat, fold, role, patients, events, sites, shared_sites, unknown_sites; shared_sites is 0 for the training
    part, unknown_sites are patients whose site is not known.
    """
    rows = []
    for (repeat, fold), own in table.groupby(["repeat", "fold"]):
        sites = {role: set(part["site"]) - {""} for role, part in own.groupby("role")}
        for role, part in own.groupby("role"):
            shared = sites[role] & sites.get("train", set()) if role != "train" else set()
            unknown = int((part["site"] == "").sum())
            counts = len(part), int(part["event"].sum()), len(sites[role]), len(shared), unknown
            rows.append((repeat, fold, role, *counts))
    counted = ["patients", "events", "sites", "shared_sites", "unknown_sites"]
    return pd.DataFrame(rows, columns=["repeat", "fold", "role", *counted])


def events_per_fold(parts: pd.DataFrame) -> pd.DataFrame:
    """The table of `describe_parts` with one row per repeat and fold.

    Returns
    -------
    Columns repeat, fold; n_train, n_train_events, and the same of validation and test; n_test_sites, and
    n_shared_sites of these that train as well; n_unknown_sites, patients of the training and test parts whose site is
    not known: where there are any, more sites may be shared.
    """
    rows = []
    for (repeat, fold), own in parts.groupby(["repeat", "fold"]):
        of = own.set_index("role").reindex(["train", "validation", "test"], fill_value=0)
        row = {"repeat": repeat, "fold": fold}
        for role in of.index:
            row |= {f"n_{role}": int(of["patients"][role]), f"n_{role}_events": int(of["events"][role])}
        row |= {"n_test_sites": int(of["sites"]["test"]), "n_shared_sites": int(of["shared_sites"]["test"])}
        rows.append(row | {"n_unknown_sites": int(of["unknown_sites"][["train", "test"]].sum())})
    return pd.DataFrame(rows)


def unused_samples(attrition: pd.DataFrame) -> pd.DataFrame:
    """Samples of expression that are not used, by reason: columns reason, samples, patients, example.

    Parameters
    ----------
    attrition
        As of `attrition_steps`; a reason may begin with the barcode of the sample that is used instead.
    """
    samples = attrition[attrition["kind"] == "sample"]
    reasons = samples["reason"].str.replace(r"^TCGA-\S+", "another sample", regex=True)
    grouped = samples.assign(reason=reasons).groupby("reason", sort=False)
    rows = [(reason, len(own), own["patient_id"].nunique(), own["id"].iloc[0]) for reason, own in grouped]
    table = pd.DataFrame(rows, columns=["reason", "samples", "patients", "example"])
    return table.sort_values("samples", ascending=False, ignore_index=True)


def check_tested(models: Mapping[str, Sequence[Fold]], *, splits: pd.DataFrame) -> None:
    """Raise InputError unless the splits name every patient with a risk as a test patient of that repeat and fold."""
    test = splits[splits["role"] == "test"]
    tested = set(zip(test["repeat"], test["fold"], test["patient_id"], strict=True))
    for model, parts in models.items():
        for part in parts:
            alien = [str(name) for name in part.patient_id if (part.repeat, part.fold, str(name)) not in tested]
            if alien:
                raise InputError(
                    f"expected the {len(part.patient_id)} patients with a risk of {model} to be test patients of "
                    f"repeat {part.repeat}, fold {part.fold} of the splits, found {len(alien)} who are not: "
                    f"{', '.join(alien[:5])}. Train and evaluate on these splits."
                )


def _counts(left: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """(stage, reason) -> count in the order of the stages, the frequent reason first; rare reasons as one."""
    counts: dict[tuple[str, str], int] = {}
    for stage in dict.fromkeys(when for when, _ in left):
        found = Counter(why for when, why in left if when == stage)
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        counts |= {(stage, why): count for why, count in ordered[:_MOST_REASONS]}
        if rest := ordered[_MOST_REASONS:]:
            counts[stage, f"{len(rest)} other reasons"] = sum(count for _, count in rest)
    return counts
