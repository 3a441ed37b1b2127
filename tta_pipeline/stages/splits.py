"""Who trains, validates and tests."""

import logging
from pathlib import Path

import pandas as pd

from tta_pipeline.config import Splits
from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets, tables
from tta_pipeline.numerics import folds

log = logging.getLogger(__name__)

FEW_EVENTS = 10


def run(*, patients: Path, out: Path, config: Splits) -> None:
    """Draw repeated k-fold splits, or check those that `config.file` gives; write splits.tsv.

    Each patient has one role per repeat and fold and is tested at most once per repeat. The draw is stratified by
    event and depends on the set of patients and the seed only, not on the order of patients.tsv. With
    `group_by_site`, all patients of a site have one role. Every part holds an event; a test part with fewer
    than ten is logged as a warning, because its C-index says little.

    Raises
    ------
    InputError
        Too few patients, events or sites, a patient without site, or a file that does not fit the cohort.
    """
    cohort = tables.read_table(patients, columns=tables.PATIENTS).sort_values("patient_id", ignore_index=True)
    if config.group_by_site and (cohort["site"] == "").any():
        without = cohort.loc[cohort["site"] == "", "patient_id"]
        raise InputError(
            f"{patients}: expected a site of each patient for group_by_site, found none for {len(without)}: "
            f"{sheets.listed(without)}. Set inputs.site_column, or splits: {{group_by_site: false}}."
        )
    table = _draw(cohort, config) if config.file is None else _from_file(config.file, cohort, config)
    table = table.sort_values(["repeat", "fold", "patient_id"], ignore_index=True)
    _check_parts(table.merge(cohort, on="patient_id"), config)
    tables.write_table(out, table, columns=tables.SPLITS)


def _draw(cohort: pd.DataFrame, config: Splits) -> pd.DataFrame:
    site = pd.factorize(cohort["site"], sort=True)[0] if config.group_by_site else None
    parts = []
    for repeat in range(config.repeats):
        roles = folds.draw_roles(
            event=cohort["event"].to_numpy(bool),
            group=site,
            folds=config.folds,
            validation_fraction=config.validation_fraction,
            seed=(config.seed, repeat),
        )
        parts += [
            pd.DataFrame({"repeat": repeat, "fold": fold, "patient_id": cohort["patient_id"], "role": role})
            for fold, role in enumerate(roles)
        ]
    return pd.concat(parts)


def _from_file(path: Path, cohort: pd.DataFrame, config: Splits) -> pd.DataFrame:
    sheet = sheets.read_sheet(path)
    sheets.require_columns(sheet.columns, tables.SPLITS, path=path, hint="One row per repeat, fold and patient.")
    for name, allowed in {
        "repeat": [str(number) for number in range(config.repeats)],
        "fold": [str(number) for number in range(config.folds)],
        "role": [folds.TRAIN, folds.VALIDATION, folds.TEST],
        "patient_id": list(cohort["patient_id"]),
    }.items():
        wrong = sheet.loc[~sheet[name].isin(allowed), name]
        if len(wrong):
            raise InputError(
                f"{path}: expected {name} among {sheets.listed(allowed)}, found {sheets.listed(wrong.unique())} in "
                f"{len(wrong)} rows, the first in line {wrong.index[0]}. Correct the rows, or the config's "
                "splits.folds and splits.repeats; drop the rows of patients who are not in patients.tsv."
            )
    table = sheet[list(tables.SPLITS)].astype(tables.SPLITS)
    _check_one_role(table, cohort, path)
    if config.group_by_site:
        _check_sites(table.merge(cohort, on="patient_id"), path)
    return table


def _check_one_role(table: pd.DataFrame, cohort: pd.DataFrame, path: Path) -> None:
    """Every patient has exactly one role per repeat and fold, and is tested at most once per repeat."""
    twice = table[table.duplicated(["repeat", "fold", "patient_id"], keep=False)]
    if len(twice):
        found = [
            f"{patient_id} as {' and '.join(rows['role'])} in repeat {repeat}, fold {fold}"
            for (repeat, fold, patient_id), rows in twice.groupby(["repeat", "fold", "patient_id"])
        ]
        raise InputError(f"{path}: expected one role per patient and fold, found {sheets.listed(found)}. Drop a row.")
    for (repeat, fold), rows in table.groupby(["repeat", "fold"]):
        missing = sorted(set(cohort["patient_id"]) - set(rows["patient_id"]))
        if missing:
            raise InputError(
                f"{path}: repeat {repeat}, fold {fold}: expected all {len(cohort)} patients of the cohort, found none "
                f"of {sheets.listed(missing)}. Add them, or leave them out of the sheet of slides."
            )
    tested = table[table["role"] == folds.TEST]
    again = tested[tested.duplicated(["repeat", "patient_id"])]["patient_id"].unique()
    if len(again):
        raise InputError(
            f"{path}: expected each patient in one test part per repeat, found more for {sheets.listed(again)}. "
            "Number splits that overlap as repeats."
        )


def _check_sites(table: pd.DataFrame, path: Path) -> None:
    roles = table.groupby(["repeat", "fold", "site"])["role"].nunique()
    if (roles > 1).any():
        found = [f"site {site} in repeat {repeat}, fold {fold}" for repeat, fold, site in roles[roles > 1].index]
        raise InputError(
            f"{path}: expected one role per site (group_by_site), found several for {sheets.listed(found)}. "
            "Mend the file, or set group_by_site: false."
        )


def _check_parts(table: pd.DataFrame, config: Splits) -> None:
    """Every role is there and holds an event; few test events are logged."""
    wanted = [folds.TRAIN, folds.TEST] + ([folds.VALIDATION] if config.validation_fraction > 0 else [])
    for repeat in range(config.repeats):
        for fold in range(config.folds):
            rows = table[(table["repeat"] == repeat) & (table["fold"] == fold)]
            counts = rows.groupby("role")["event"].agg(["size", "sum"]).astype(int)
            counts = counts.reindex([*wanted, *counts.index.difference(wanted)], fill_value=0)
            without = counts.index[counts["sum"] == 0]
            said = ", ".join(f"{role} {size} with {events} events" for role, size, events in counts.itertuples())
            if len(without):
                raise InputError(
                    f"splits: repeat {repeat}, fold {fold}: expected an event in each part, found {said}. "
                    "Use other splits or fewer folds; validation_fraction: 0 says that there is no validation part."
                )
            level = logging.WARNING if int(counts["sum"][folds.TEST]) < FEW_EVENTS else logging.INFO
            log.log(level, "splits: repeat %d, fold %d: %s", repeat, fold, said)
