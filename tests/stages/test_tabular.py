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
    "clinical-plus": {"risks_of": ["one", "two"]},
    "risk-sum": {"risks_of": ["one", "two"]},
}
STACKED = ["clinical-plus", "risk-sum"]
INNER = 3


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
    write_risks(written)
    return written


def write_covariates(study: Study, *, names: tuple[str, ...] = ("age", "sex", "grade")) -> None:
    generator = np.random.default_rng(0)
    values = {"age": lambda: str(generator.integers(40, 80)), "sex": lambda: str(generator.choice(["F", "M"]))}
    rows = [(one, name, values.get(name, lambda: "G2")()) for one in study.patient_id for name in names]
    table = pd.DataFrame(rows, columns=list(tables.COVARIATES))
    tables.write_table(study.folder / "covariates.tsv", table, columns=tables.COVARIATES)


def write_risks(study: Study) -> None:
    """What the models `one` and `two` say of the training patients, by parts, and of the test patients."""
    train, validation = study.ids("train"), study.ids("validation")
    rows = [
        (0, part, one, "validation" if one in validation else "test" if row % INNER == part else "train")
        for part in range(INNER)
        for row, one in enumerate([*train, *validation])
    ]
    inner = study.folder / "inner_splits.tsv"
    tables.write_table(inner, pd.DataFrame(rows, columns=list(tables.SPLITS)), columns=tables.SPLITS)
    for name in ("one", "two"):
        for part in range(INNER):
            write_predictions(study, name, train[part::INNER], fold=part, splits=inner, zero=100.0 * part)
        write_predictions(study, name, study.ids("test"), fold=0, splits=study.folder / "splits.tsv", zero=0.0)


def write_predictions(
    study: Study, name: str, ids: list[str], *, fold: int, splits: Path, zero: float, **attributes: object
) -> Path:
    """A risk of each patient that gene 0 makes, noise and a zero of the fit's own."""
    genes = artifacts.read_pathways(study.folder / "pathways.h5")
    rows = [genes.patient_id.index(one) for one in ids]
    noise = np.random.default_rng([len(name), fold, ord(name[0])]).standard_normal(len(ids))
    found = artifacts.Predictions(
        patient_id=ids,
        risk=genes.expression[rows, 0] + noise + zero,
        time_days=np.ones(len(ids)),
        event=np.ones(len(ids), dtype=bool),
        survival=np.ones((len(ids), 1), dtype=np.float32),
        horizons_days=np.array([300.0]),
        curves=np.ones((len(ids), 1), dtype=np.float32),
        curve_days=np.array([300.0]),
        attributes={"name": name, "repeat": 0, "fold": fold, "seed": 0, "train_risk_median": zero, **attributes},
    )
    path = risk_file(study, name, fold=fold, splits=splits)
    artifacts.write_predictions(path, found, options={}, inputs={"splits": splits})
    return path


def risk_file(study: Study, name: str, *, fold: int, splits: Path) -> Path:
    return study.folder / splits.stem / name / f"r0_f{fold}_s0.h5"


def inner_risks(study: Study, names: tuple[str, ...] = ("one", "two")) -> list[Path]:
    inner = study.folder / "inner_splits.tsv"
    return [risk_file(study, name, fold=part, splits=inner) for name in names for part in range(INNER)]


def outer_risks(study: Study, names: tuple[str, ...] = ("one", "two")) -> list[Path]:
    return [risk_file(study, name, fold=0, splits=study.folder / "splits.tsv") for name in names]


def trained(
    study: Study,
    architecture: str,
    *,
    covariates: bool = True,
    risks: list[Path] | None = None,
    seed: int = 0,
    **options: Any,
) -> Checkpoint:
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
        inner_splits=study.folder / "inner_splits.tsv" if architecture in STACKED else None,
        risks=inner_risks(study) if risks is None and architecture in STACKED else risks or [],
    )
    return artifacts.read_checkpoint(out)


def evaluated(study: Study, *, covariates: bool = True, risks: list[Path] | None = None, **options: Any) -> Predictions:
    out = study.folder / "evaluate.h5"
    evaluate.run(
        trained=study.folder / "train.h5",
        **study.inputs,  # type: ignore[arg-type]
        out=out,
        config=config.Evaluate(**{"horizons_days": (300.0, 1e6)} | options),
        bad_slides=config.BadSlides(),
        covariates=study.folder / "covariates.tsv" if covariates else None,
        risks=outer_risks(study) if risks is None else risks,
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
    sources = {"one", "two"} if architecture in STACKED else set()
    assert set(found.exchanged) == sources | ({"clinical covariates"} if architecture == "clinical-plus" else set())
    for risks in found.exchanged.values():
        assert risks.shape == (config.Evaluate().exchanges, 20)
        assert (risks != found.risk).any(axis=1).all()
    expected = {"name": "small", "repeat": 0, "fold": 0, "seed": 0, "n_train": 60, "excluded": {}}
    assert expected.items() <= found.attributes.items()
    inputs = hdf5.read_origin(study.folder / "train.h5").inputs
    assert ("covariates" in inputs) == architecture.startswith("clinical")
    assert ("inner_splits" in inputs) == (architecture in STACKED)


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
        risks=outer_risks(study),
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
        *(["--covariates", "covariates.tsv"] if architecture.startswith("clinical") else []),
    ]
    shared = [str(folder / word) if "." in word else word for word in shared]
    shared += ["--manifests", "--config", "{}", "--bad-slides", "{}"]
    model = json.dumps({"architecture": architecture} | OPTIONS[architecture])
    which = ["--name", "m", "--repeat", "0", "--fold", "0", "--seed", "0", "--model", model]
    known, new = [], []
    if architecture in STACKED:
        known = ["--inner-splits", str(folder / "inner_splits.tsv"), "--risks", *map(str, inner_risks(study))]
        new = ["--risks", *map(str, outer_risks(study))]
    assert cli.run(["train", *shared, *which, *known, "--out", str(folder / "train.h5")]) == 0
    out = folder / "evaluate.h5"
    assert cli.run(["evaluate", *shared, *new, "--trained", str(folder / "train.h5"), "--out", str(out)]) == 0
    assert np.isfinite(artifacts.read_predictions(out).risk).all()


@pytest.mark.parametrize("architecture", STACKED)
def test_risks_of_others_are_taken_above_the_median_of_the_fit_that_gave_them(study: Study, architecture: str) -> None:
    """The zeros of the inner fits are 100 apart here, far more than any risk."""
    before = trained(study, architecture).scaler["risk_scale"]
    inner = study.folder / "inner_splits.tsv"
    for part in range(INNER):
        write_predictions(study, "one", study.ids("train")[part::INNER], fold=part, splits=inner, zero=0.0)
    after = trained(study, architecture).scaler["risk_scale"]
    assert (before > 1).all()
    assert (before < 3).all()
    np.testing.assert_allclose(after, before, rtol=1e-5)


@pytest.mark.parametrize("architecture", STACKED)
def test_what_reads_risks_says_which_it_lacks(study: Study, architecture: str) -> None:
    trained(study, architecture)
    with pytest.raises(InputError, match="expected risks of 60 patients by two, found none for 20: P02, P05, P08"):
        trained(study, architecture, risks=inner_risks(study)[:-1])
    with pytest.raises(InputError, match="expected risks of 20 patients by one, found none for 20"):
        evaluated(study, risks=outer_risks(study, ("two",)))
    with pytest.raises(InputError, match=r"expected patients without a risk so far, found one of P00, P03"):
        trained(study, architecture, risks=[*inner_risks(study), inner_risks(study)[0]])


def test_risks_by_a_fit_that_saw_the_patients_are_refused(study: Study) -> None:
    """Those of the test patients' fold know all training patients, and those of another fold or seed may."""
    trained(study, "risk-sum")
    with pytest.raises(
        InputError, match=r"risks of patients whom .*inner_splits\.tsv tests, found some by other splits"
    ):
        trained(study, "risk-sum", risks=outer_risks(study))
    with pytest.raises(InputError, match="one or two, repeat 0, fold 0, seed 0, found some by one, repeat 0, fold 1"):
        evaluated(study, risks=inner_risks(study)[1:])
    with pytest.raises(InputError, match="fold 0 or 1 or 2, seed 1, found some by one, repeat 0, fold 0, seed 0"):
        trained(study, "risk-sum", seed=1)
    inner, train = study.folder / "inner_splits.tsv", study.ids("train")
    write_predictions(study, "one", train[::INNER], fold=0, splits=inner, zero=0.0, chosen_on="test")
    with pytest.raises(InputError, match="found that its epoch was chosen on them"):
        trained(study, "risk-sum")


def test_inner_splits_of_another_training_part_are_refused(study: Study) -> None:
    table = tables.read_table(study.folder / "inner_splits.tsv", columns=tables.SPLITS)
    table = table[table["patient_id"] != study.ids("train")[0]]
    tables.write_table(study.folder / "inner_splits.tsv", table, columns=tables.SPLITS)
    with pytest.raises(InputError, match="expected folds of the 68 patients who are not tested in repeat 0, fold 0"):
        trained(study, "risk-sum")


def test_what_reads_risks_needs_them(study: Study) -> None:
    with pytest.raises(
        InputError, match=r"risk-sum: expected --inner-splits and --risks, .* of one, two, found no such"
    ):
        train.run(
            **study.inputs,  # type: ignore[arg-type]
            repeat=0,
            fold=0,
            seed=0,
            name="small",
            out=study.folder / "alone.h5",
            model=model_sections.RiskSum(architecture="risk-sum", risks_of=("one", "two")),
            config=config.Train(),
            bad_slides=config.BadSlides(),
        )
