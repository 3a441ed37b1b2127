"""Who trains, validates and tests."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from tta_pipeline.config import Splits
from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets, tables
from tta_pipeline.io.published_splits import read_splits
from tta_pipeline.numerics import flow, folds
from tta_pipeline.numerics.findings import FEW_EVENTS

log = logging.getLogger(__name__)


def run(*, patients: Path, out: Path, parts: Path, config: Splits, inner: Path | None = None) -> None:
    """Draw repeated k-fold splits, or take those that `config.file` gives; write splits.tsv and what is in each part.

    Each patient has one role per repeat and fold and is tested at most once per repeat. The draw is stratified by
    event and time, and depends on the set of patients and the seed only, not on the order of patients.tsv. With
    `group_by_site`, all patients of a site have one role. Every part holds an event; a test part with fewer
    than ten is logged as a warning, because its C-index says little.

    Where no fold of the splits that are given has a validation part and `validation_fraction` is not 0, it is drawn
    from their training patients.

    Where `inner` is given, the training part of each fold is cut into `inner_folds` parts, each of which is tested
    there once, for models that read risks of other models. Its folds are numbered through: part p of fold f of k parts
    is fold f k + p. Patients whom the fold tests are in none, and who validates in the fold validates in all of them.

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
    if inner is not None:
        tables.write_table(inner, _inner(table, cohort, config), columns=tables.SPLITS)
    tables.write_table(parts, flow.describe_parts(table.merge(cohort, on="patient_id")), columns=tables.PARTS)


def _draw(cohort: pd.DataFrame, config: Splits) -> pd.DataFrame:
    site = pd.factorize(cohort["site"], sort=True)[0] if config.group_by_site else None
    parts = []
    for repeat in range(config.repeats):
        roles = folds.draw_roles(
            event=cohort["event"].to_numpy(bool),
            time_days=cohort["time_days"].to_numpy(float),
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


def _inner(table: pd.DataFrame, cohort: pd.DataFrame, config: Splits) -> pd.DataFrame:
    """The splits inside of the training parts, as `run` says."""
    table = table.merge(cohort[["patient_id", "time_days", "event", "site"]], on="patient_id")
    parts = []
    for _, own in table.groupby(["repeat", "fold"]):
        repeat, fold = int(own["repeat"].iloc[0]), int(own["fold"].iloc[0])
        rows = own[own["role"] != folds.TEST].sort_values("patient_id")
        training = rows[rows["role"] == folds.TRAIN]
        site = pd.factorize(training["site"], sort=True)[0] if config.group_by_site else np.arange(len(training))
        try:
            part = folds.partition(
                event=training["event"].to_numpy(bool),
                time_days=training["time_days"].to_numpy(float),
                group=site,
                shares=np.full(config.inner_folds, 1 / config.inner_folds),
                seed=[config.seed, repeat, fold, 2],
            )
        except InputError as error:
            raise InputError(
                f"splits.inner_folds: {config.inner_folds}: repeat {repeat}, fold {fold}: its training part cannot be "
                f"cut for models with risks_of. {error} Or lower splits.inner_folds."
            ) from error
        for number in range(config.inner_folds):
            role = rows["role"].where(~rows["patient_id"].isin(training["patient_id"][part == number]), folds.TEST)
            made = rows[["repeat", "patient_id"]].assign(fold=fold * config.inner_folds + number, role=role)
            parts.append(made)
    return pd.concat(parts, ignore_index=True)[list(tables.SPLITS)]


def _from_file(path: Path, cohort: pd.DataFrame, config: Splits) -> pd.DataFrame:
    sheet = read_splits(path)
    for name, allowed in {
        "repeat": [str(number) for number in range(config.repeats)],
        "fold": [str(number) for number in range(config.folds)],
        "role": [folds.TRAIN, folds.VALIDATION, folds.TEST],
    }.items():
        wrong = sheet.loc[~sheet[name].isin(allowed), name]
        if len(wrong):
            where = wrong.index[0] if path.is_dir() else f"line {wrong.index[0]}"
            raise InputError(
                f"{path}: expected {name} among {sheets.listed(allowed)}, found {sheets.listed(wrong.unique())} in "
                f"{len(wrong)} rows, the first in {where}. Correct the rows, or the config's "
                "splits.folds and splits.repeats."
            )
    there = set(zip(sheet["repeat"], sheet["fold"], strict=True))
    expected = {(str(repeat), str(fold)) for repeat in range(config.repeats) for fold in range(config.folds)}
    if there != expected:
        found = sheets.listed(f"repeat {repeat}, fold {fold}" for repeat, fold in sorted(expected - there))
        raise InputError(
            f"{path}: expected {config.repeats} repeats of {config.folds} folds (splits.repeats, splits.folds), found "
            f"no rows for {found}. Correct the config, or the file."
        )
    table = _of_cohort(sheet, cohort, path=path, config=config).astype(tables.SPLITS)
    _check_one_role(table, path)
    if config.validation_fraction > 0 and _lacks_validation(table, path):
        log.info(
            "splits: %s has no validation part: %g of each training part is set aside for it. Set splits: "
            "{validation_fraction: 0} for the splits as they are given",
            path,
            config.validation_fraction,
        )
        table = _with_validation(table, cohort, config)
    if config.group_by_site:
        _check_sites(table.merge(cohort, on="patient_id"), path)
    return table


def _of_cohort(sheet: pd.DataFrame, cohort: pd.DataFrame, *, path: Path, config: Splits) -> pd.DataFrame:
    """The rows of the cohort's patients, who must all be in every fold unless strangers are dropped."""
    known = sheet["patient_id"].isin(set(cohort["patient_id"]))
    unknown = sheet.loc[~known, "patient_id"].unique()
    if not known.any():
        raise InputError(
            f"{path}: expected splits of the cohort's patients, such as {sheets.listed(cohort['patient_id'], most=3)}, "
            f"found {len(unknown)} others, such as {sheets.listed(unknown, most=3)}: these are splits of another study."
        )
    n_folds = config.repeats * config.folds
    rows = (
        sheet[known]
        .drop_duplicates()
        .groupby("patient_id")[["repeat", "fold"]]
        .apply(lambda own: len(own.drop_duplicates()))
    )
    absent = sorted(set(cohort["patient_id"]) - set(rows.index[rows == n_folds]))
    if config.strangers == "fail" and (len(unknown) or absent):
        raise InputError(
            f"{path}: expected the {len(cohort)} patients of the cohort in each of {n_folds} folds and nobody else, "
            f"found {len(unknown)} who are not in the cohort ({sheets.listed(unknown, most=5) or 'none'}), and "
            f"{len(absent)} of the cohort who are not in every fold ({sheets.listed(absent, most=5) or 'none'}). Mend "
            "the file or the cohort, or leave both out with splits: {strangers: drop}."
        )
    if len(unknown):
        log.warning("splits: %d patients of %s are not in the cohort: %s", len(unknown), path, sheets.listed(unknown))
    if absent:
        log.warning("splits: %d patients of the cohort are in no part: %s", len(absent), sheets.listed(absent))
    return sheet[known & ~sheet["patient_id"].isin(absent)]


def _lacks_validation(table: pd.DataFrame, path: Path) -> bool:
    """Whether no fold has a validation part; it is an error that only some have one."""
    has = (table["role"] == folds.VALIDATION).groupby([table["repeat"], table["fold"]]).any()
    if has.any() and not has.all():
        without = sheets.listed(f"repeat {repeat}, fold {fold}" for repeat, fold in has.index[~has])
        raise InputError(
            f"{path}: expected a validation part of the cohort's patients in every fold or in none, found none in "
            f"{without}. Give these folds one; or let all train who validate in the others, and splits: "
            "{validation_fraction} draws one for every fold; or take the splits as they are with "
            "splits: {validation_fraction: 0}."
        )
    return not has.any()


def _with_validation(table: pd.DataFrame, cohort: pd.DataFrame, config: Splits) -> pd.DataFrame:
    """The same splits with a part of each fold's training patients validating."""
    table = table.merge(cohort[["patient_id", "time_days", "event", "site"]], on="patient_id")
    table = table.sort_values(["repeat", "fold", "patient_id"], ignore_index=True)
    shares = np.array([1 - config.validation_fraction, config.validation_fraction])
    training = table[table["role"] == folds.TRAIN]
    for number, (_, rows) in enumerate(training.groupby(["repeat", "fold"])):
        site = pd.factorize(rows["site"], sort=True)[0] if config.group_by_site else np.arange(len(rows))
        part = folds.partition(
            event=rows["event"].to_numpy(bool),
            time_days=rows["time_days"].to_numpy(float),
            group=site,
            shares=shares,
            seed=[config.seed, number],
        )
        table.loc[rows.index[part == 1], "role"] = folds.VALIDATION
    return table[list(tables.SPLITS)]


def _check_one_role(table: pd.DataFrame, path: Path) -> None:
    """Every patient has exactly one role per repeat and fold, and is tested at most once per repeat."""
    twice = table[table.duplicated(["repeat", "fold", "patient_id"], keep=False)]
    if len(twice):
        found = [
            f"{patient_id} as {' and '.join(rows['role'])} in repeat {repeat}, fold {fold}"
            for (repeat, fold, patient_id), rows in twice.groupby(["repeat", "fold", "patient_id"])
        ]
        raise InputError(f"{path}: expected one role per patient and fold, found {sheets.listed(found)}. Drop a row.")
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
    wanted = [folds.TRAIN, folds.TEST]
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
                    "Use other splits or fewer folds."
                )
            level = logging.WARNING if int(counts["sum"][folds.TEST]) < FEW_EVENTS else logging.INFO
            log.log(level, "splits: repeat %d, fold %d: %s", repeat, fold, said)
