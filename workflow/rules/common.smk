"""What the rules share: the validated config, the inputs of a study, and the functions that name a job's files."""

import json
import os
import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

# A section without a key is an empty one.
for name in [name for name, content in config.items() if content is None]:
    config[name] = {}
for name in [name for name, model in (config.get("models") or {}).items() if model is None]:
    raise WorkflowError(
        f"config: models.{name}: expected a mapping of options, found nothing. Write {{}} for a TTA, or leave "
        "the model out; one that another config file brings, by its name in report.without."
    )
try:
    validate(config, "../schemas/config.schema.json")
except WorkflowError as error:
    key = error.__context__.json_path.removeprefix("$.")
    raise WorkflowError(f"config: {key}: {error.__context__.message}. See config/README.md.") from None

if unknown := sorted(set(config["report"]["without"]) - set(config["models"])):
    raise WorkflowError(
        f"config: report.without: expected some of the models {', '.join(config['models'])}, found {', '.join(unknown)}."
    )

stacked = {name: model["risks_of"] for name, model in config["models"].items() if "risks_of" in model}
for name, read in stacked.items():
    known = [other for other in config["models"] if other not in stacked]
    if unknown := [other for other in read if other not in known]:
        raise WorkflowError(
            f"config: models.{name}.risks_of: expected some of the models without risks_of ({', '.join(known)}), found "
            f"{', '.join(unknown)}."
        )


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


# The package is run from this checkout, so that a rule's conda environment needs no copy of it. The policy for bad slides
# is no parameter of tiles and features, nor is what changes only the speed of features: another limit or more threads
# must not compute finished slides again.
policy = shlex.quote(section("bad_slides")).replace("{", "{{").replace("}", "}}")
checkout = Path(str(workflow.current_basedir)).parents[1]
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH='{checkout}' TTA_BAD_SLIDES={policy} "
    f"TTA_BATCH_SIZE={config['features']['batch_size']} TTA_DECODE_THREADS={config['features']['decode_threads']}; "
)


def input_file(name):
    """An input of the study, with `$NAME` and `~` expanded."""
    return expanded(config["inputs"][name])


def optional_file(section, key):
    """A file that the config may name: no input where it does not, nor where it names the table that is shipped."""
    path = config[section][key]
    # A file that is missing is the stage's to report, see `present`.
    return [] if path in (None, "hgnc") or not os.path.exists(expanded(path)) else [expanded(path)]


def expanded(path):
    return os.path.expanduser(os.path.expandvars(path))


def attempts(first):
    """A resource that grows with each attempt of a job."""
    return lambda wildcards, attempt: first * attempt


# What --forcerun, --forceall or --force name, for jobs on other machines: their own command line does not say it.
FORCED = Path(".snakemake/forced.json")


def forced():
    """Rules and files that are forced; "all" where everything is."""
    if not workflow.is_main_process:
        return json.loads(FORCED.read_text(encoding="utf-8")) if FORCED.is_file() else []
    settings = workflow.dag_settings
    named = [*settings.forcerun, *(settings.targets if settings.forcetargets else [])]
    return [*map(str, named), *(["all"] if settings.forceall else [])]


def again(*stages):
    """A resource, which makes nothing run: 1 where one of these stages is forced, for all batches or for this one.

    Otherwise a job takes over what an earlier one finished.
    """

    def told(wildcards):
        files = {f"results/{stage}/batches/{wildcards.batch}.tsv" for stage in stages}
        return int(not {"all", *stages, *files}.isdisjoint(forced()))

    return told


def reported():
    """Models that the report shows: all but those that `report.without` names."""
    return [model for model in config["models"] if model not in config["report"]["without"]]


def networks():
    """Models that are trained in epochs, and so have curves of it: those that may have a section `train`."""
    return [name for name, model in config["models"].items() if "train" in model and name in reported()]


# Models that are fitted in one go: nothing of the section `train` is theirs.
TABULAR = {"clinical-cox", "elastic-net", "survival-forest", "clinical-plus", "risk-sum"}


def training_of(wildcards):
    """What a model is told of the section `train`."""
    is_network = config["models"][wildcards.model]["architecture"] not in TABULAR
    return section("train", without=["seeds"]) if is_network else "{}"


def covariates_of(wildcards):
    """The table of clinical covariates, an input of the models that read it."""
    reads = config["models"][wildcards.model]["architecture"] in ("clinical-cox", "clinical-plus")
    return ["results/cohort/covariates.tsv"] if reads else []


def risks_of(model):
    """Models whose risks a model reads."""
    return config["models"][model].get("risks_of", [])


# Splits inside of the training parts, where a model reads risks of others.
INNER_SPLITS = ["results/inner_splits.tsv"] if any(map(risks_of, reported())) else []


def inner_splits_of(wildcards):
    return INNER_SPLITS if risks_of(wildcards.model) else []


def inner_risks_of(wildcards):
    """What a model trains on of other models: their risks of the patients of each part of its training part."""
    first = int(wildcards.fold) * config["splits"]["inner_folds"]
    return [
        f"results/inner_evaluate/{model}/r{wildcards.repeat}_f{fold}_s{wildcards.seed}.h5"
        for model in risks_of(wildcards.model)
        for fold in range(first, first + config["splits"]["inner_folds"])
    ]


def risks_of_tested(wildcards):
    """What a model is evaluated on of other models: their risks of the test patients."""
    fit = "r{repeat}_f{fold}_s{seed}".format(**wildcards)
    return [f"results/evaluate/{model}/{fit}.h5" for model in risks_of(wildcards.model)]


def runs(stage):
    """Artifacts of `stage` for every reported model, repeat, fold and seed."""
    return [
        f"results/{stage}/{model}/r{repeat}_f{fold}_s{seed}.h5"
        for model in reported()
        for repeat in range(config["splits"]["repeats"])
        for fold in range(config["splits"]["folds"])
        for seed in config["train"]["seeds"]
    ]
