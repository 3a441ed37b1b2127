"""Who is in the study, who is out, and why."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from tta_pipeline.config import BadSlides, Cohort, Inputs
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import artifacts, sheets, tables
from tta_pipeline.io.clinical import read_clinical, read_covariates
from tta_pipeline.io.cohort import read_slides, slide_type
from tta_pipeline.io.expression import read_expression_index
from tta_pipeline.io.gene_names import read_gene_names
from tta_pipeline.io.gene_sets import read_gene_sets
from tta_pipeline.io.samples import LeftOut
from tta_pipeline.numerics.flow import OTHER_TYPE, PATIENT_LEFT_OUT

log = logging.getLogger(__name__)
_FEWEST_PER_JOB, _MOST_JOBS = 16, 500  # Snakemake plans some 200 jobs a second; the same in workflow/rules/slides.smk


def run(*, out: Path, inputs: Inputs, config: Cohort, bad_slides: BadSlides) -> None:
    """Join slides, clinical table and RNA by patient; write patients, slides, covariates, attrition and batches.tsv.

    A candidate is a patient with a slide or with RNA; a candidate with a slide, RNA and a known outcome is in.
    Every candidate and every slide of the sheet stands either in patients.tsv / slides.tsv or in attrition.tsv.
    Patients are sorted by identifier, slides stay in the order of the sheet. Ready-made features are read and checked.
    batches.tsv remembers which slides form one job of tiles and features, so that a new slide disturbs no old job; it
    holds every slide without features, whoever its patient is, for these stages depend on no outcome.

    Raises
    ------
    InputError
        An input does not fit, no patient is left, feature widths differ, or slides cannot be used and the policy
        is to fail or more are concerned than its limit.
    """
    # Whether images can be read is for tiles to say: they may have gone to an archive once their features are there.
    sheet = read_slides(inputs.slides, existing=["features"])
    wanted = _of_wanted_type(sheet["slide_id"], inputs)
    slides, other = sheet[wanted], sheet[~wanted]
    if slides.empty:
        raise InputError(
            f"{inputs.slides}: expected slides of type {', '.join(inputs.slide_types or ())} (inputs.slide_types), "
            f"found none by their slide_id, such as {sheets.listed(sheet['slide_id'], most=3)}."
        )
    # Before anything else is looked at: what stops this job stops no job of tiles, and they must stay the same ones.
    _remember_batches(out / "batches.tsv", slides.loc[slides["features"] == "", "slide_id"], config)
    read_gene_sets(inputs.gene_sets)  # hours of tiling should not end in a wrong file
    read_gene_names(inputs.gene_names)
    why_out, clinical, unused = _judge_patients(slides, inputs=inputs, config=config)
    stay = slides["patient_id"].map(why_out) == ""
    bad = _judge_slides(slides[stay], bad_slides)
    usable = slides[stay & ~slides["slide_id"].isin(bad)]
    n_slides = usable["patient_id"].value_counts()
    why_out |= {name: "no usable slide" for name, reason in why_out.items() if not reason and name not in n_slides}
    kept = [name for name, reason in why_out.items() if not reason]
    if not kept:
        raise InputError(f"{inputs.slides}: expected at least one patient with a usable slide, found none.")
    patients = clinical.loc[kept].assign(n_slides=n_slides)
    tables.write_table(out / "patients.tsv", patients.reset_index(), columns=tables.PATIENTS)
    tables.write_table(out / "slides.tsv", usable, columns=tables.SLIDES)
    attrition = pd.concat([_attrition(why_out, slides, bad), _of_other_types(other), _of_samples(unused)])
    tables.write_table(out / "attrition.tsv", attrition, columns=tables.ATTRITION)
    covariates = read_covariates(inputs, patients=kept)
    tables.write_table(out / "covariates.tsv", covariates, columns=tables.COVARIATES)
    for name, values in covariates.groupby("covariate", sort=False)["value"]:
        log.info("covariate %s: %d of %d patients lack it", name, int((values == "").sum()), len(kept))
    said = "cohort: %d patients with %d events, %d slides; left out: %d patients, %d slides"
    n_out = len(why_out) - len(kept), len(sheet) - len(usable)
    log.info(said, len(kept), int(patients["event"].sum()), len(usable), *n_out)


def assign_batches(slide_ids: Sequence[str], *, known: Mapping[str, str], per_job: int) -> dict[str, str]:
    """Batch of each slide: known slides keep theirs, new ones fill new batches of `per_job` in the order given.

    A batch that exists is never filled up, because its job would run again. Slides that are no longer in the
    study stay known. Batches are named b0001, b0002, ...
    """
    new = [slide for slide in dict.fromkeys(slide_ids) if slide not in known]
    last = max((int(batch[1:]) for batch in known.values()), default=0)
    return {**known, **{slide: f"b{last + 1 + index // per_job:04d}" for index, slide in enumerate(new)}}


def _of_wanted_type(slide_ids: pd.Series, inputs: Inputs) -> pd.Series:
    types = slide_ids.map(slide_type)
    return pd.Series(True, index=slide_ids.index) if inputs.slide_types is None else types.isin(inputs.slide_types)


def _of_other_types(slides: pd.DataFrame) -> pd.DataFrame:
    rows = [
        ("slide", slide_id, patient_id, "cohort", f"{OTHER_TYPE} {slide_type(slide_id) or 'not told by its slide_id'}")
        for slide_id, patient_id in zip(slides["slide_id"], slides["patient_id"], strict=True)
    ]
    return pd.DataFrame(rows, columns=list(tables.ATTRITION))


def _of_samples(unused: Iterable[LeftOut]) -> pd.DataFrame:
    rows = [("sample", sample.label, sample.patient_id, "cohort", sample.reason) for sample in unused]
    return pd.DataFrame(rows, columns=list(tables.ATTRITION))


def _judge_patients(
    slides: pd.DataFrame, *, inputs: Inputs, config: Cohort
) -> tuple[dict[str, str], pd.DataFrame, list[LeftOut]]:
    """Why each candidate is out ("" for those who stay), sorted by identifier; their outcomes; samples not used."""
    with_rna, unused = read_expression_index(inputs)
    candidates = sorted({*slides["patient_id"], *with_rna})
    clinical = read_clinical(inputs, patients=candidates)
    why_out = _reasons(candidates, with_slide=set(slides["patient_id"]), with_rna=set(with_rna), clinical=clinical)
    why_out = _judge_zero_time(why_out, clinical["time_days"], config=config, where=inputs.clinical)
    _check_any_left(why_out, slides=slides["patient_id"], with_rna=with_rna, clinical=clinical, inputs=inputs)
    return why_out, clinical, unused


def _reasons(
    candidates: Iterable[str], *, with_slide: set[str], with_rna: set[str], clinical: pd.DataFrame
) -> dict[str, str]:
    """Why each candidate is out, every reason joined; "" for those who stay."""
    reasons = {}
    for name in candidates:
        found = []
        if name not in with_slide:
            found.append("no slide")
        if name not in with_rna:
            found.append("no RNA")
        if name not in clinical.index:
            found.append("no outcome: not in the clinical table")
        else:
            if clinical.loc[name, "redacted"]:
                found.append("redacted")
            columns = {"time": clinical["time_days"], "indicator": clinical["event"]}
            missing = [what for what, column in columns.items() if pd.isna(column[name])]
            found += [f"no outcome: {' and '.join(missing)} missing"] if missing else []
        reasons[name] = "; ".join(found)
    return reasons


def _judge_zero_time(
    why_out: Mapping[str, str], time_days: pd.Series, *, config: Cohort, where: Path
) -> dict[str, str]:
    zero = [name for name, reason in why_out.items() if not reason and time_days[name] == 0]
    if zero and config.zero_time == "fail":
        raise InputError(
            f"{where}: expected times above 0, found 0 for {len(zero)} patients: {sheets.listed(zero)}. "
            "Correct them, or set cohort: {zero_time: exclude}."
        )
    return {**why_out, **dict.fromkeys(zero, "zero time")}


def _check_any_left(
    why_out: Mapping[str, str], *, slides: Iterable[str], with_rna: list[str], clinical: pd.DataFrame, inputs: Inputs
) -> None:
    if any(not reason for reason in why_out.values()):
        return
    common = pd.Series(why_out).value_counts().head(3)
    raise InputError(
        "expected patients with a slide, RNA and a known outcome, found none among "
        f"{len(why_out)} ({'; '.join(f'{count} x {reason}' for reason, count in common.items())}). "
        "Identifiers must be equal in all three files (a case like TCGA-BR-8077, not a sample or aliquot), and the "
        "expression matrix holds patients in rows or, with inputs.expression_layout, genes: "
        f"{inputs.slides} has {sheets.listed(dict.fromkeys(slides), most=3)}; "
        f"{inputs.expression} has {sheets.listed(with_rna, most=3)}; "
        f"{inputs.clinical} matches {len(clinical)} of them in column {inputs.patient_column}."
    )


def _judge_slides(slides: pd.DataFrame, bad_slides: BadSlides) -> dict[str, str]:
    """Why ready-made features cannot be used, by slide; within the policy."""
    bad: dict[str, str] = {}
    widths: dict[int, str] = {}
    for slide_id, file in zip(slides["slide_id"], slides["features"], strict=True):
        if not file:
            continue
        try:
            widths.setdefault(artifacts.read_features(Path(file)).shape[1], file)
        except ArtifactError as error:
            bad[slide_id] = str(error).removeprefix(f"{file}: ").split(". ")[0]  # without its advice
    if len(widths) > 1:
        found = sheets.listed(f"{width} in {file}" for width, file in widths.items())
        raise InputError(f"expected features of one width in all files, found {found}. Use one encoder for all slides.")
    if bad and (bad_slides.policy == "fail" or len(bad) > bad_slides.limit):
        allowed = "none" if bad_slides.policy == "fail" else f"at most bad_slides.limit = {bad_slides.limit}"
        raise InputError(
            f"expected {allowed} of the slides to be unusable, found {len(bad)}:\n"
            + "\n".join(f"  {slide_id}: {reason}" for slide_id, reason in bad.items())
            + "\nMend the files, or leave the slides out with bad_slides: {policy: exclude, limit: "
            + f"{len(bad)}}}."
        )
    return bad


def _remember_batches(path: Path, slide_ids: pd.Series, config: Cohort) -> None:
    known: dict[str, str] = {}
    if path.is_file():
        memory = tables.read_table(path, columns=tables.BATCHES)
        known = dict(zip(memory["slide_id"], memory["batch"], strict=True))
        if len(known) < len(memory) or not memory["batch"].str.fullmatch(r"b\d{4,}").all():
            raise ArtifactError(
                f"{path}: expected each slide once with a batch like b0001, found otherwise. Delete the file; "
                "all tiles and features jobs are then grouped anew."
            )
    per_job = config.slides_per_job or max(_FEWEST_PER_JOB, -(-len(slide_ids) // _MOST_JOBS))
    batches = assign_batches(list(slide_ids), known=known, per_job=per_job)
    memory = pd.DataFrame({"slide_id": list(batches), "batch": list(batches.values())})
    tables.write_table(path, memory, columns=tables.BATCHES)


def _attrition(why_out: Mapping[str, str], slides: pd.DataFrame, bad: Mapping[str, str]) -> pd.DataFrame:
    patients = [("patient", name, name, "cohort", reason) for name, reason in why_out.items() if reason]
    left = [
        ("slide", slide_id, name, "cohort", bad.get(slide_id) or f"{PATIENT_LEFT_OUT}: {why_out[name]}")
        for slide_id, name in zip(slides["slide_id"], slides["patient_id"], strict=True)
        if slide_id in bad or why_out[name]
    ]
    return pd.DataFrame(patients + left, columns=list(tables.ATTRITION))
