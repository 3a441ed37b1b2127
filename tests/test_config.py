"""The config models: limits, unknown keys, messages, and what is generated from them."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import ValidationError
from snakemake.utils import update_config

from tests.conftest import ROOT
from tta_pipeline import config, manual, model_sections
from tta_pipeline.errors import InputError
from tta_pipeline.model_sections import Stacked, Tabular
from tta_pipeline.model_sections.published import PUBLISHED
from tta_pipeline.models import MODELS
from tta_pipeline.models.tabular import TABULAR
from tta_pipeline.reporting import result_tables

MINIMAL = {"inputs": {"slides": "s.tsv", "clinical": "c.tsv", "expression": "e.csv", "gene_sets": "g.gmt"}}


def write(folder: Path, content: object) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["config", "demo", "tcga_stad"])
def test_every_shipped_study_loads(name: str) -> None:
    assert config.load(ROOT / "config" / f"{name}.yaml").models


def test_the_ablations_add_to_a_study(tmp_path: Path) -> None:
    study, ablations = (
        yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))
        for name in ("tcga_stad.yaml", "ablations.yaml")
    )
    models = config.load(write(tmp_path, study | ablations)).models
    assert {"tta", "together-only", "apart-only", "neither"} <= set(models)
    assert len({model.model_dump_json() for model in models.values()}) == len(models)


def test_a_later_file_adds_to_the_earlier_as_snakemake_joins_them(tmp_path: Path) -> None:
    models = {"tta": {"prototypes": 8}, "genes": {"architecture": "mlp"}}
    first = MINIMAL | {"models": models, "train": {"seeds": [0, 1]}}
    second = {"models": {"tta": {"anchors": False}, "late": {"architecture": "late-fusion"}}, "train": {"seeds": [5]}}
    joined = yaml.safe_load(yaml.safe_dump(first))
    update_config(joined, second)
    paths = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    for path, content in zip(paths, (first, second), strict=True):
        path.write_text(yaml.safe_dump(content))
    study = config.load(*paths)
    assert study == config.load(write(tmp_path, joined))
    assert (set(study.models), study.train.seeds) == ({"tta", "genes", "late"}, (5,))
    assert study.models["tta"].prototypes == 8
    paths[1].write_text("models: {x: {architecture: nothing}}")
    with pytest.raises(InputError, match=r"first.yaml, .*second.yaml: models.x: expected an architecture among"):
        config.load(*paths)


def test_defaults_fill_what_is_left_out(tmp_path: Path) -> None:
    study = config.load(write(tmp_path, MINIMAL))
    assert study.tiles == config.Tiles()
    assert study.models == {"tta": config.TTA()}


def test_environment_variables_expand_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_DATA", "/data/x")
    study = config.load(write(tmp_path, {"inputs": MINIMAL["inputs"] | {"slides": "$STUDY_DATA/s.tsv"}}))
    assert study.inputs.slides == Path("/data/x/s.tsv")


@pytest.mark.parametrize(
    ("given", "found"), [("hgnc", "hgnc"), ("$STUDY_DATA/t.txt", Path("/data/x/t.txt")), (None, None)]
)
def test_gene_names_are_a_word_a_path_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, found: object
) -> None:
    monkeypatch.setenv("STUDY_DATA", "/data/x")
    assert config.load(write(tmp_path, MINIMAL)).inputs.gene_names == "hgnc"
    inputs = config.load(write(tmp_path, {"inputs": MINIMAL["inputs"] | {"gene_names": given}})).inputs
    assert inputs.gene_names == found
    assert config.Inputs.model_validate(inputs.model_dump(mode="json")) == inputs


@pytest.mark.parametrize(
    ("time", "event"),
    [
        ("DSS.time", "DSS"),
        ("OS_MONTHS", "os_status"),
        ("dss_survival_days", "dss_censorship"),
        ("days", "OS"),
        ("PFI.time", "progressed"),
        ("dose_time", "prognosis"),
        ("PFS_MONTHS", "PFI"),
        ("dfi_time", "DFS_STATUS"),
        ("time_OS_or_PFS", "PFS_event"),
    ],
)
def test_columns_of_one_endpoint_or_of_no_named_one_are_taken(tmp_path: Path, time: str, event: str) -> None:
    inputs = MINIMAL["inputs"] | {"time_column": time, "event_column": event}
    found = config.load(write(tmp_path, MINIMAL | {"inputs": inputs}))
    assert (found.inputs.time_column, found.inputs.event_column) == (time, event)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trian": {}}, r"study\.yaml: trian: Extra inputs are not permitted"),
        ({"train": {"epoch": 3}}, r"train\.epoch: Extra inputs.* Do you mean epochs\?"),
        ({"train": {"epochs": 0}}, r"train\.epochs: Input should be greater than or equal to 1, found 0"),
        ({"tiles": {"mpp": "half"}}, r"tiles\.mpp: .*valid number.*found 'half'"),
        ({"tiles": {"tile_size_px": 64, "overlap_px": 64}}, r"overlap_px must be below tile_size_px = 64, found 64"),
        (
            {"inputs": MINIMAL["inputs"] | {"time_column": "DSS.time", "event_column": "OS"}},
            r"inputs: .*the time of DSS \(time_column: DSS\.time\) with the indicator of OS \(event_column: OS\)",
        ),
        (
            {"inputs": MINIMAL["inputs"] | {"time_column": "PFS_MONTHS", "event_column": "DFS"}},
            r"inputs: .*the time of PFS \(time_column: PFS_MONTHS\) with the indicator of DFS \(event_column: DFS\)",
        ),
        (
            {"inputs": MINIMAL["inputs"] | {"time_column": "time_OS_or_PFS", "event_column": "DSS"}},
            r"inputs: .*the time of OS and PFS \(time_column: time_OS_or_PFS\) with the indicator of DSS ",
        ),
        (
            {"inputs": MINIMAL["inputs"] | {"endpoint": "OS", "event_column": "dead", "time_unit": "months"}},
            r"inputs: .*takes the columns of a known layout, and time_unit, event_column would not be used",
        ),
        ({"report": {"without": ["TTA"]}}, r"report\.without: expected some of the models tta, found TTA"),
        ({"report": {"without": ["tta"]}}, r"report\.without: expected some of the models tta, found all of them"),
        ({"models": {}}, r"models: .*at least 1"),
        ({"models": {"a b": {}}}, r"models.*a b.*match pattern"),
        ({"splits": {"folds": 1}}, r"splits\.folds: .*greater than or equal to 2"),
    ],
)
def test_wrong_configs_say_key_expected_and_found(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config.load(write(tmp_path, MINIMAL | change))


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: expected a config file, found nothing"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match=r"broken\.yaml: expected YAML"):
        config.load(tmp_path / "broken.yaml")
    with pytest.raises(InputError, match="expected sections at the top level, found list"):
        config.load(write(tmp_path, [1]))


def test_schema_and_manual_are_up_to_date() -> None:
    assert manual.SCHEMA.read_text(encoding="utf-8") == manual.schema_text(), "run: make schema"
    current = manual.README.read_text(encoding="utf-8")
    assert current == manual.readme_text(current), "run: make schema"


@pytest.mark.parametrize(
    ("inputs", "architecture", "refused"),
    [
        ({}, "clinical-cox", True),
        ({"covariates": []}, "clinical-cox", True),
        ({"covariates": ["age"]}, "clinical-cox", False),
        ({}, "mlp", False),
    ],
)
def test_the_schema_asks_for_covariates_where_the_config_does(
    tmp_path: Path, inputs: dict[str, object], architecture: str, refused: bool
) -> None:
    study = {"inputs": MINIMAL["inputs"] | inputs, "models": {"tta": {}, "one": {"architecture": architecture}}}
    found = list(jsonschema.Draft202012Validator(json.loads(manual.schema_text())).iter_errors(study))
    assert [error.json_path for error in found] == ["$.models.one.architecture"] * refused
    assert all("name columns of the clinical table in inputs.covariates" in error.message for error in found)
    if refused:
        with pytest.raises(InputError, match=r"models: one: expected clinical covariates in inputs\.covariates"):
            config.load(write(tmp_path, study))
    else:
        config.load(write(tmp_path, study))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"epoch": 3}, "models: mlp: train: epoch: Extra inputs"),
        ({"epochs": 0}, "models: mlp: train: epochs: Input should be greater"),
        ({"seeds": [1]}, "expected the seeds of all models in the section train"),
        ({"search": None}, "expected the search of all models in the section train"),
    ],
)
def test_a_models_own_training_is_checked_with_the_study(own: dict[str, object], message: str) -> None:
    files = dict.fromkeys(("slides", "clinical", "expression", "gene_sets"), "x")
    with pytest.raises(InputError, match=message):
        config.Study.model_validate({"inputs": files, "models": {"m": {"architecture": "mlp", "train": own}}})


def test_a_recipe_is_the_common_one_then_the_published_then_the_models_own() -> None:
    common = config.Train(epochs=7, device="cpu")
    section = model_sections.ABMIL(architecture="abmil", recipe="published", train={"learning_rate": 0.5})
    found = config.recipe_of(section, common)
    published = model_sections.PUBLISHED["abmil"]
    assert (found.loss, found.epochs, found.optimiser) == ("nll", published["epochs"], "adam")
    assert (found.learning_rate, found.device) == (0.5, "cpu")
    assert config.recipe_of(section.model_copy(update={"recipe": "common", "train": {}}), common) == common


@pytest.mark.parametrize("loss", ["cox", "ranking"])
def test_a_loss_that_compares_patients_needs_two_a_step(loss: str) -> None:
    with pytest.raises(ValidationError, match=f"loss {loss} compares the patients of a step: .* at least 2, found 1"):
        config.Train(loss=loss, batch_size=1)
    assert config.Train(loss="nll", batch_size=1).batch_size == 1
    section = model_sections.SurvPath(architecture="survpath", recipe="published", train={"loss": loss})
    with pytest.raises(InputError, match=r"models: survpath: train.*at least 2, found 1"):
        config.recipe_of(section, config.Train())


@pytest.mark.parametrize("architecture", model_sections.PUBLISHED)
def test_a_published_recipe_does_not_depend_on_the_section_train(architecture: str) -> None:
    section = model_sections.ARCHITECTURES[architecture](architecture=architecture, recipe="published")
    others = {"patches": 7, "bins": 9, "gradient_clip": 0.1, "sampling": "weighted", "epochs": 2, "batch_size": 5}
    others |= {"loss": "ranking", "censored_weight": 0.3, "optimiser": "sgd", "schedule": "constant"}
    others |= {"learning_rate": 1.0, "weight_decay": 1.0, "warmup_fraction": 0.9}
    own, other = (config.recipe_of(section, common) for common in (config.Train(), config.Train(**others)))
    used = {"censored_weight"} if own.loss != "nll" else set()
    assert own.model_dump(exclude=used) == other.model_dump(exclude=used)


def test_every_published_recipe_is_one_and_every_architecture_has_its_section() -> None:
    for name, keys in model_sections.PUBLISHED.items():
        config.Train.model_validate(keys)
        assert name in model_sections.ARCHITECTURES
    assert [*MODELS, *TABULAR] == list(model_sections.ARCHITECTURES)


def test_a_model_of_covariates_needs_their_names(tmp_path: Path) -> None:
    models = {"clinical": {"architecture": "clinical-cox"}}
    with pytest.raises(
        InputError, match=r"models: clinical: expected clinical covariates in inputs\.covariates, found none"
    ):
        config.load(write(tmp_path, MINIMAL | {"models": models}))
    inputs = MINIMAL["inputs"] | {"covariates": ["age"]}
    assert config.load(write(tmp_path, {"inputs": inputs, "models": models})).networks == {}


@pytest.mark.parametrize("own", [{"recipe": "published"}, {"train": {"epochs": 3}}])
def test_a_model_that_is_no_network_takes_no_recipe(tmp_path: Path, own: dict[str, object]) -> None:
    models = {"forest": {"architecture": "survival-forest"} | own}
    with pytest.raises(InputError, match=f"expected no {next(iter(own))}: survival-forest is not trained in epochs"):
        config.load(write(tmp_path, MINIMAL | {"models": models}))


@pytest.mark.parametrize(
    ("risks_of", "message"),
    [
        (["a", "c"], r"models: sum: risks_of: expected some of the models without risks_of \(a, b\), found c"),
        (["a", "other"], r"models: sum: risks_of: expected some of the models without risks_of \(a, b\), found other"),
        (["a"], "risks_of: Tuple should have at least 2 items"),
        (["a", "a"], "risks_of: expected each model once, found a, a"),
    ],
)
def test_risks_are_of_other_models(tmp_path: Path, risks_of: list[str], message: str) -> None:
    models: dict[str, dict[str, object]] = {"a": {}, "b": {}, "sum": {"architecture": "risk-sum", "risks_of": risks_of}}
    models["other"] = {"architecture": "risk-sum", "risks_of": ["a", "b"]}
    with pytest.raises(InputError, match=message):
        config.load(write(tmp_path, MINIMAL | {"models": models}))


def test_what_a_study_trains_for_models_that_read_risks(tmp_path: Path) -> None:
    models = {"a": {}, "b": {}, "c": {}, "sum": {"architecture": "risk-sum", "risks_of": ["c", "a"]}}
    report = {"without": ["a"]}
    study = config.load(write(tmp_path, MINIMAL | {"models": models, "report": report}))
    assert study.reported == ("b", "c", "sum")
    assert study.read_by_others == ("a", "c")
    assert [study.risks_of(name) for name in models] == [(), (), (), ("c", "a")]
    without = config.load(write(tmp_path, MINIMAL | {"models": models, "report": {"without": ["sum"]}}))
    assert without.read_by_others == ()


def test_risks_of_models_that_were_chosen_on_the_test_part_are_refused(tmp_path: Path) -> None:
    models = {"a": {"train": {"checkpoint": "published"}}, "b": {}}
    models["sum"] = {"architecture": "risk-sum", "risks_of": ["a", "b"]}
    with pytest.raises(InputError, match="sum: risks_of: expected models whose epoch is not chosen on the test"):
        config.load(write(tmp_path, MINIMAL | {"models": models}))


def test_the_baselines_add_to_any_study(tmp_path: Path) -> None:
    baselines = yaml.safe_load((ROOT / "config" / "baselines.yaml").read_text(encoding="utf-8"))
    models = config.load(write(tmp_path, MINIMAL | baselines)).models
    left_out = {"clinical-cox", "clinical-plus", "risk-sum"}  # they need inputs.covariates, or more trainings
    wanted = {name for name in model_sections.ARCHITECTURES if name not in left_out}
    assert {model.architecture for model in models.values()} == wanted


def test_the_published_baselines_are_those_that_have_a_recipe(tmp_path: Path) -> None:
    published = yaml.safe_load((ROOT / "config" / "baselines_published.yaml").read_text(encoding="utf-8"))
    models = config.load(write(tmp_path, MINIMAL | published)).networks
    assert all(model.recipe == "published" for model in models.values())
    assert {model.architecture for model in models.values()} == set(PUBLISHED)


def test_the_workflow_and_the_report_know_the_models_that_are_no_networks() -> None:
    """Neither imports the sections of models; both name some of them."""
    rules = (ROOT / "workflow" / "rules" / "common.smk").read_text(encoding="utf-8")
    named = re.findall(r"^TABULAR = \{(.+)\}$", rules, flags=re.MULTILINE)[0]
    assert set(re.findall(r'"([a-z-]+)"', named)) == set(TABULAR)
    sections = {name: model_sections.ARCHITECTURES[name] for name in TABULAR}
    reading = [name for name, one in sections.items() if issubclass(one, Tabular) and one.needs_covariates]
    named = ", ".join(f'"{name}"' for name in reading)
    assert f'["architecture"] in ({named})' in rules
    alone = [name for name in reading if not issubclass(sections[name], Stacked)]
    assert alone == [result_tables._OF_COVARIATES]
