"""What the rules share: the validated config, the inputs of a study, and the functions that name a job's files."""

import csv
import json
import os
from functools import cache
from pathlib import Path

import pandas as pd
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

try:
    validate(config, "../schemas/config.schema.json")
except WorkflowError as error:
    key = error.__context__.json_path.removeprefix("$.")
    raise WorkflowError(f"config: {key}: {error.__context__.message}. See config/README.md.") from None

# The package is run from this checkout, so that a rule's conda environment needs no copy of it.
shell.prefix(f"set -euo pipefail; export PYTHONPATH='{Path(workflow.basedir).parent}'; ")


wildcard_constraints:
    batch=r"b\d+",
    model="|".join(config["models"]),
    repeat=r"\d+",
    fold=r"\d+",
    seed=r"\d+",


def section(name, without=()):
    """One section of the config as JSON: the whole of what a stage is told, and what makes it run again."""
    return json.dumps(
        {key: value for key, value in config[name].items() if key not in without},
        sort_keys=True,
    )


def input_file(name):
    """An input of the study, with `$NAME` and `~` expanded."""
    return expanded(config["inputs"][name])


def optional_file(section, key):
    """A file that the config may name: no input where it does not."""
    path = config[section][key]
    return [] if path is None else [expanded(path)]


def expanded(path):
    return os.path.expanduser(os.path.expandvars(path))


def attempts(first):
    """A resource that grows with each attempt of a job."""
    return lambda wildcards, attempt: first * attempt


# Ready-made features and slides of the sheet ---------------------------------------------------------------------


@cache
def sheet_of_slides():
    """Rows of the user's sheet; none where it cannot be read, which the cohort stage then says."""
    sheet = Path(input_file("slides"))
    if not sheet.is_file():
        return []
    with sheet.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        delimiter = "\t" if "\t" in file.readline() else ","
        file.seek(0)
        return list(csv.DictReader(file, delimiter=delimiter))


def ready_made_features(wildcards):
    """Feature files that the sheet of slides names: cohort reads them, so a changed file runs it again."""
    folder = Path(input_file("slides")).parent
    return [str(folder / expanded(row["features"])) for row in sheet_of_slides() if row.get("features")]


def slides_to_encode():
    return [row for row in sheet_of_slides() if not row.get("features")]


@cache
def slides_table(path, changed):
    """Slides of the cohort without ready-made features, by batch. Read once for each state of the file."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    made = table[table["features"] == ""]
    return {batch: rows for batch, rows in made.groupby("batch", sort=False)}


def batches():
    path = checkpoints.cohort.get().output.slides
    return slides_table(path, os.stat(path).st_mtime_ns)


def images_of_batch(wildcards):
    """Whole-slide images of one batch."""
    return list(batches()[wildcards.batch]["path"])


def rows_of_batch(wildcards):
    """What the cohort says of the slides of one batch: a changed mpp runs the batch again."""
    return batches()[wildcards.batch][["slide_id", "mpp"]].to_json(orient="values")


def feature_manifests(wildcards):
    """Manifests of all batches; none where every slide brings its features."""
    return expand("results/features/batches/{batch}.tsv", batch=list(batches()))


def first_features(wildcards):
    """One features job while the cohort is not known: without it, `--until features` would find nothing to do."""
    if Path("results/cohort/slides.tsv").exists() or not slides_to_encode():
        return []
    return ["results/features/batches/b0001.tsv"]


# Models ----------------------------------------------------------------------------------------------------------


def runs(stage):
    """Artifacts of `stage` for every model, repeat, fold and seed."""
    return [
        f"results/{stage}/{model}/r{repeat}_f{fold}_s{seed}.h5"
        for model in config["models"]
        for repeat in range(config["splits"]["repeats"])
        for fold in range(config["splits"]["folds"])
        for seed in config["train"]["seeds"]
    ]
