"""Who would be in a study, in which part, and with how many tokens: its first stages, run into a folder that goes."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tta_pipeline import config
from tta_pipeline.commands.findings import Findings
from tta_pipeline.commands.headers import cost_of_training, say_costs
from tta_pipeline.io import sheets, tables
from tta_pipeline.io.bags import Bags
from tta_pipeline.io.expression import read_expression
from tta_pipeline.io.gene_sets import GeneSets
from tta_pipeline.io.published_splits import read_splits
from tta_pipeline.io.study import read_patients
from tta_pipeline.models import MODELS
from tta_pipeline.numerics import flow
from tta_pipeline.numerics.findings import FEW_EVENTS
from tta_pipeline.stages import cohort, splits

# Of which values are read: 10,000 genes of a large matrix would cost half a minute, a folder of counts has a file each.
_MOST_GENES, _FEW_FILES = 500, 50


def describe_cohort(options: config.Study, findings: Findings, *, sets: GeneSets, bad: Mapping[str, str]) -> None:
    """Run the cohort and splits stages, read expression and ready-made features, and say what was found.

    Parameters
    ----------
    sets
        Gene sets that are kept, with their genes.
    bad
        Why slides cannot be opened, by slide_id; within the limit of `bad_slides`.
    """
    with tempfile.TemporaryDirectory() as name, findings.noting():
        folder = Path(name)
        cohort.run(out=folder, inputs=options.inputs, config=options.cohort, bad_slides=options.bad_slides)
        patients = tables.read_table(folder / "patients.tsv", columns=tables.PATIENTS)
        with findings.noting():
            parts = folder / "parts.tsv"
            splits.run(
                patients=folder / "patients.tsv",
                out=folder / "splits.tsv",
                parts=parts,
                inner=folder / "inner_splits.tsv" if options.read_by_others else None,
                config=options.splits,
            )
        _say_funnel(folder, patients, findings, bad=bad)
        if parts.is_file():
            if options.splits.file is not None:
                _say_file(options.splits, folder, findings)
            for line in _parts(tables.read_table(parts, columns=tables.PARTS)):
                findings.say(line)
        with findings.noting():
            _check_values(options, findings, patients=list(patients["patient_id"]), sets=sets)
        _check_bags(options, folder, findings, sets=sets)


def _say_funnel(folder: Path, patients: pd.DataFrame, findings: Findings, *, bad: Mapping[str, str]) -> None:
    slides = tables.read_table(folder / "slides.tsv", columns=tables.SLIDES)
    attrition = tables.read_table(folder / "attrition.tsv", columns=tables.ATTRITION)
    unopened = "cannot be opened"
    features = slides.assign(excluded=["" if name not in bad else unopened for name in slides["slide_id"]])
    file = folder / "splits.tsv"
    split = set(tables.read_table(file, columns=tables.SPLITS)["patient_id"]) if file.is_file() else None
    steps = flow.attrition_steps(attrition, patients=patients, features=features, left_later={}, split=split)
    for row in steps.to_dict("records"):
        left = f" (-{row['left']}: {row['reason']})" if row["left"] else ""
        findings.say(f"{row['kind']}s: {row['remaining']}{left or ' ' + row['reason']}")
    stay = patients[patients["patient_id"].isin(features.loc[features["excluded"] == "", "patient_id"])]
    stay = stay if split is None else stay[stay["patient_id"].isin(split)]
    findings.say(f"events: {int(stay['event'].sum())} of {len(stay)} patients")


def _say_file(options: config.Splits, folder: Path, findings: Findings) -> None:
    """Whom of a file of splits the cohort lacks, and why; and what is drawn besides."""
    assert options.file is not None
    sheet = read_splits(options.file)
    known = set(tables.read_table(folder / "patients.tsv", columns=tables.PATIENTS)["patient_id"])
    strangers = sorted(set(sheet["patient_id"]) - known)
    if strangers:
        attrition = tables.read_table(folder / "attrition.tsv", columns=tables.ATTRITION)
        out = attrition[attrition["kind"] == "patient"]
        why = dict(zip(out["id"], out["reason"], strict=True))
        reasons = Counter(why.get(name, "neither slide nor RNA in the inputs") for name in strangers)
        said = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        findings.say(
            f"splits: {len(strangers)} patients of {options.file} are not in the cohort ({said}): "
            f"{sheets.listed(strangers, most=5)}"
        )
    drawn = tables.read_table(folder / "splits.tsv", columns=tables.SPLITS)["role"] == "validation"
    if drawn.any() and not (sheet["role"] == "validation").any():
        sites = "by whole sites" if options.group_by_site else "whatever its site"
        findings.say(
            f"splits: {options.file} has no validation part: {options.validation_fraction:g} of each training part is "
            f"set aside for it, {sites}; splits: {{validation_fraction: 0}} takes the splits as they are given"
        )


def _parts(parts: pd.DataFrame) -> Iterator[str]:
    for row in parts[parts["role"] == "test"].to_dict("records"):
        unknown = f"; that of {row['unknown_sites']} patients is not known" if row["unknown_sites"] else ""
        few = " (fewer than 10: its C-index says little)" if row["events"] < FEW_EVENTS else ""
        yield (
            f"test part {row['repeat']}.{row['fold']}: {row['patients']} patients, {row['events']} events{few}, "
            f"{row['sites']} sites of which {row['shared_sites']} train as well{unknown}"
        )


def _check_values(options: config.Study, findings: Findings, *, patients: list[str], sets: GeneSets) -> None:
    """Read values of genes that are evenly spread over those of the sets, and check them against their unit."""
    genes = sorted({gene for members in sets.values() for gene in members})
    samples = _FEW_FILES if options.inputs.expression.is_dir() else len(patients)
    people, shown = patients[:: -(-len(patients) // samples)], genes[:: -(-len(genes) // _MOST_GENES)]
    read_expression(options.inputs, patients=people, genes=shown)
    findings.say(f"expression: values of {len(shown)} of {len(genes)} genes, {len(people)} patients, are of their unit")


def _check_bags(options: config.Study, folder: Path, findings: Findings, *, sets: GeneSets) -> None:
    """Where all features are ready-made: ask every model whether it can take their bags."""
    files = {"patients": folder / "patients.tsv", "slides": folder / "slides.tsv"}
    if (tables.read_table(files["slides"], columns=tables.SLIDES)["features"] == "").any():
        return
    with findings.noting():
        patients = read_patients(**files, manifests=[], bad_slides=options.bad_slides)
        with_places = any(MODELS[one.architecture].needs_places for one in options.networks.values())
        bags = Bags(patients.values(), cache_gb=0, bad_slides=options.bad_slides, with_places=with_places)
        names, counts = list(bags.n_patches), np.array(list(bags.n_patches.values()))
        findings.say(
            f"features: ready-made, {bags.width} per patch; {counts.min():,} to {counts.max():,} patches per patient, "
            f"median {np.median(counts):,.0f}"
        )
        say_costs([cost_of_training(options, patients=len(names), patches=float(counts.sum()))], findings)
        column = {gene: index for index, gene in enumerate({gene for own in sets.values() for gene in own})}
        members = [np.array([column[gene] for gene in own], dtype=np.int64) for own in sets.values()]
        for name, model in options.networks.items():
            network = MODELS[model.architecture](model, feature_dim=bags.width, pathways=members)
            most = config.recipe_of(model, options.train).patches
            with findings.noting(f"models.{name}: "):
                network.check_patients(names, n_patches=np.minimum(counts, most).tolist())
