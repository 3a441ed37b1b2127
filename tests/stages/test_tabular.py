"""Models that are not networks, through train, evaluate and report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.builders import Study, write_pathways, write_study
from tta_pipeline import cli, config, model_sections
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, hdf5, tables
from tta_pipeline.io.artifacts import Checkpoint, Predictions
from tta_pipeline.models.tabular import TABULAR
from tta_pipeline.stages import evaluate, report, train

OPTIONS = {
    "clinical-cox": {},
    "elastic-net": {"penalties": 10},
    "survival-forest": {"trees": 20, "min_samples_leaf": 5},
}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Without feature files: whoever opens one fails."""
    written = write_study(tmp_path, n_train=60, n_validation=8, n_test=20, seed=3)
    for path in (tmp_path / "features").iterdir():
        path.unlink()
    expression = artifacts.read_pathways(tmp_path / "pathways.h5").expression
    expression[:, 1:5] = 0.2 * expression[:, 1:5] + 3 * expression[:, :1]  # the first set carries the risk of gene 0
    write_pathways(tmp_path / "pathways.h5", ids=written.patient_id, expression=expression)
    write_covariates(written)
    return written


def write_covariates(study: Study, *, names: tuple[str, ...] = ("age", "sex", "grade")) -> None:
    generator = np.random.default_rng(0)
    values = {"age": lambda: str(generator.integers(40, 80)), "sex": lambda: str(generator.choice(["F", "M"]))}
    rows = [(one, name, values.get(name, lambda: "G2")()) for one in study.patient_id for name in names]
    table = pd.DataFrame(rows, columns=list(tables.COVARIATES))
    tables.write_table(study.folder / "covariates.tsv", table, columns=tables.COVARIATES)


def trained(study: Study, architecture: str, *, covariates: bool = True, seed: int = 0, **options: Any) -> Checkpoint:
    section = model_sections.ARCHITECTURES[architecture]
    out = study.folder / "train.h5"
    train.run(
        **study.inputs,  # type: ignore[arg-type]
        repeat=0,
        fold=0,
        seed=seed,
        name="small",
        out=out,
        model=section(architecture=architecture, **OPTIONS[architecture] | options),  # type: ignore[arg-type]
        config=config.Train(),
        bad_slides=config.BadSlides(),
        covariates=study.folder / "covariates.tsv" if covariates else None,
    )
    return artifacts.read_checkpoint(out)


def evaluated(study: Study, *, covariates: bool = True, **options: Any) -> Predictions:
    out = study.folder / "evaluate.h5"
    evaluate.run(
        trained=study.folder / "train.h5",
        **study.inputs,  # type: ignore[arg-type]
        out=out,
        config=config.Evaluate(**{"horizons_days": (300.0, 1e6)} | options),
        bad_slides=config.BadSlides(),
        covariates=study.folder / "covariates.tsv" if covariates else None,
    )
    return artifacts.read_predictions(out)


def bytes_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    groups = ("weights", "scaler", "baseline")
    return {f"{g}/{name}": value.tobytes() for g in groups for name, value in getattr(checkpoint, g).items()}


@pytest.mark.parametrize("architecture", TABULAR)
def test_test_patients_get_their_risks_and_curves(study: Study, architecture: str) -> None:
    checkpoint, found = trained(study, architecture), evaluated(study)
    assert (checkpoint.attributes["n_train"], checkpoint.attributes["n_validation"]) == (60, 8)
    assert checkpoint.history == {}
    assert found.patient_id == study.ids("test")
    assert np.ptp(found.risk) > 0
    assert np.isfinite(found.survival[:, 0]).all()
    assert np.isnan(found.survival[:, 1]).all()
    assert found.curves.shape == (20, len(found.curve_days))
    assert (np.diff(found.curves, axis=1) <= 1e-6).all()
    assert np.corrcoef(found.risk, found.curves.mean(axis=1))[0, 1] < -0.9
    assert found.exchanged == {}
    expected = {"name": "small", "repeat": 0, "fold": 0, "seed": 0, "n_train": 60, "excluded": {}}
    assert expected.items() <= found.attributes.items()
    inputs = hdf5.read_origin(study.folder / "train.h5").inputs
    assert ("covariates" in inputs) == (architecture == "clinical-cox")


@pytest.mark.parametrize("architecture", TABULAR)
def test_one_seed_gives_one_artifact_and_test_patients_leave_no_trace(study: Study, architecture: str) -> None:
    clean = bytes_of(trained(study, architecture))
    assert bytes_of(trained(study, architecture)) == clean
    poisoned = study.ids("test")
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    rows = table["patient_id"].isin(poisoned)
    table.loc[rows, "time_days"], table.loc[rows, "event"] = 1e6, ~table.loc[rows, "event"]
    tables.write_table(study.folder / "patients.tsv", table, columns=tables.PATIENTS)
    pathways = artifacts.read_pathways(study.folder / "pathways.h5")
    pathways.expression[[pathways.patient_id.index(one) for one in poisoned]] = np.nan
    write_pathways(study.folder / "pathways.h5", ids=pathways.patient_id, expression=pathways.expression)
    cells = tables.read_table(study.folder / "covariates.tsv", columns=tables.COVARIATES)
    cells.loc[cells["patient_id"].isin(poisoned), "value"] = "rubbish"
    tables.write_table(study.folder / "covariates.tsv", cells, columns=tables.COVARIATES)
    assert bytes_of(trained(study, architecture)) == clean


@pytest.mark.parametrize("architecture", TABULAR)
def test_a_test_patients_risk_does_not_depend_on_the_others(study: Study, architecture: str) -> None:
    trained(study, architecture)
    whole = evaluated(study)
    table = tables.read_table(study.folder / "slides.tsv", columns=tables.SLIDES)
    left = table[~table["patient_id"].isin(whole.patient_id[::2])]
    tables.write_table(study.folder / "slides.tsv", left, columns=tables.SLIDES)
    out = study.folder / "half.h5"
    evaluate.run(
        trained=study.folder / "train.h5",
        **study.inputs,  # type: ignore[arg-type]
        out=out,
        config=config.Evaluate(),
        bad_slides=config.BadSlides(policy="exclude"),
        covariates=study.folder / "covariates.tsv",
    )
    half = artifacts.read_predictions(out)
    assert half.patient_id == whole.patient_id[1::2]
    np.testing.assert_array_equal(half.risk, whole.risk[1::2])


def test_who_lost_all_slides_is_left_out_as_for_networks(study: Study) -> None:
    lost = study.ids("train")[0]
    sheet = tables.read_table(study.folder / "slides.tsv", columns=tables.SLIDES)
    sheet = sheet[sheet["patient_id"] != lost]
    tables.write_table(study.folder / "slides.tsv", sheet, columns=tables.SLIDES)
    with pytest.raises(InputError, match=f"expected outcome and features of 68 patients .* none for 1: {lost}"):
        trained(study, "elastic-net")


def test_a_constant_covariate_is_named_in_the_artifact(study: Study) -> None:
    notes = trained(study, "clinical-cox").attributes["notes"]
    assert notes["dropped"] == ["grade"]
    assert notes["columns"] == ["age", "sex"]


def test_covariates_are_needed_by_the_clinical_model_alone(study: Study) -> None:
    trained(study, "elastic-net", covariates=False)
    evaluated(study, covariates=False)
    with pytest.raises(InputError, match=r"clinical-cox: expected --covariates, the cohort stage's covariates\.tsv"):
        trained(study, "clinical-cox", covariates=False)
    trained(study, "clinical-cox")
    with pytest.raises(InputError, match="clinical-cox: expected --covariates"):
        evaluated(study, covariates=False)
    write_covariates(study, names=("age",))
    with pytest.raises(InputError, match="covariates that the model was trained on, found none named sex, grade"):
        evaluated(study)
    write_covariates(study, names=())
    with pytest.raises(InputError, match=r"covariates\.tsv: expected clinical covariates, found none\. Name columns"):
        trained(study, "clinical-cox")


def test_a_patient_without_covariates_is_named(study: Study) -> None:
    table = tables.read_table(study.folder / "covariates.tsv", columns=tables.COVARIATES)
    tables.write_table(study.folder / "covariates.tsv", table[table["patient_id"] != "P03"], columns=tables.COVARIATES)
    with pytest.raises(InputError, match=r"expected covariates of 60 patients, found none for 1: P03\. Run the cohort"):
        trained(study, "clinical-cox")


def test_no_event_and_unmeasured_expression_are_errors(study: Study) -> None:
    trained(study, "elastic-net")
    pathways = artifacts.read_pathways(study.folder / "pathways.h5")
    pathways.expression[pathways.patient_id.index(study.ids("test")[0])] = np.nan
    write_pathways(study.folder / "pathways.h5", ids=pathways.patient_id, expression=pathways.expression)
    with pytest.raises(InputError, match=r"elastic-net: expected finite risks, .* for 1 of 20 patients"):
        evaluated(study)
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    table["event"] = False
    tables.write_table(study.folder / "patients.tsv", table, columns=tables.PATIENTS)
    with pytest.raises(InputError, match="expected events among the training patients, found none in 60"):
        trained(study, "survival-forest")


def test_an_empty_model_has_c_one_half_and_the_report_says_why(study: Study) -> None:
    checkpoint = trained(study, "survival-forest", min_samples_leaf=50)
    assert checkpoint.attributes["reason"] == "empty model"
    assert evaluated(study).attributes["reason"] == "empty model"
    coverage = pd.DataFrame([("first", 5, 5, 0, 0, True, "", "")], columns=list(tables.COVERAGE))
    tables.write_table(study.folder / "coverage.tsv", coverage, columns=tables.COVERAGE)
    tables.write_table(study.folder / "attrition.tsv", tables.empty(tables.ATTRITION), columns=tables.ATTRITION)
    tables.write_table(study.folder / "covariates.tsv", tables.empty(tables.COVARIATES), columns=tables.COVARIATES)
    report.run(
        patients=study.folder / "patients.tsv",
        covariates=study.folder / "covariates.tsv",
        slides=study.folder / "slides.tsv",
        attrition=study.folder / "attrition.tsv",
        manifests=[],
        coverage=study.folder / "coverage.tsv",
        splits=study.folder / "splits.tsv",
        trained=[study.folder / "train.h5"],
        evaluated=[study.folder / "evaluate.h5"],
        out=study.folder / "report",
        config=config.Report(bootstrap=100),
    )
    metrics = pd.read_csv(study.folder / "report" / "metrics.tsv", sep="\t")
    assert metrics["c_index"].tolist() == [0.5]
    page = (study.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "empty model in small repeat 0 fold 0 seed 0: no gene set was selected or split on" in page
    assert not (study.folder / "report" / "training_small.png").exists()


@pytest.mark.parametrize("architecture", TABULAR)
def test_from_the_command_line(study: Study, architecture: str) -> None:
    folder = study.folder
    shared = ["--patients", "patients.tsv", "--slides", "slides.tsv", "--pathways", "pathways.h5"]
    shared += [
        "--splits",
        "splits.tsv",
        *(["--covariates", "covariates.tsv"] if architecture == "clinical-cox" else []),
    ]
    shared = [str(folder / word) if "." in word else word for word in shared]
    shared += ["--manifests", "--config", "{}", "--bad-slides", "{}"]
    model = json.dumps({"architecture": architecture} | OPTIONS[architecture])
    which = ["--name", "m", "--repeat", "0", "--fold", "0", "--seed", "1", "--model", model]
    assert cli.run(["train", *shared, *which, "--out", str(folder / "train.h5")]) == 0
    out = folder / "evaluate.h5"
    assert cli.run(["evaluate", *shared, "--trained", str(folder / "train.h5"), "--out", str(out)]) == 0
    assert np.isfinite(artifacts.read_predictions(out).risk).all()
