"""Test patients are replaced by garbage, and nothing that is fitted or chosen may notice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from tests.builders import Study, write_features_file
from tests.leaks import study as made
from tta_pipeline import config
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, tables
from tta_pipeline.model_sections import ARCHITECTURES
from tta_pipeline.stages import train

ALL = pytest.mark.parametrize("architecture", ARCHITECTURES)
RECIPES: dict[str, dict[str, Any]] = {
    "last": {"checkpoint": "last", "loss": "nll", "sampling": "weighted"},
    "validation": {"checkpoint": "validation", "standardise_features": True},
}


def poison_outcomes(study: Study, *, time_days: float) -> None:
    """Other times of the test patients, and the opposite event."""
    ids = made.tested(study)
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS).set_index("patient_id")
    changed = pd.DataFrame({"time_days": time_days, "event": ~table.loc[ids, "event"]}, index=ids)
    made.change_outcomes(study, changed)


def poison_files(study: Study, *, features: float, covariate: str) -> None:
    """Other features and covariates of the test patients."""
    ids = made.tested(study)
    slides = tables.read_table(study.folder / "slides.tsv", columns=tables.SLIDES)
    for path in map(Path, slides.loc[slides["patient_id"].isin(ids), "features"]):
        write_features_file(path, np.full((3, made.WIDTH), features, dtype=np.float16))
    known = tables.read_table(study.folder / "covariates.tsv", columns=tables.COVARIATES)
    known.loc[known["patient_id"].isin(ids), "value"] = covariate
    tables.write_table(study.folder / "covariates.tsv", known, columns=tables.COVARIATES)


@pytest.fixture(scope="session")
def poisoned(clean: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Study]:
    """The same study with test patients of huge values, from the matrix on, or of NaN."""
    raw, ids = made.draw(), made.tested(clean)
    studies = {name: made.prepare(raw, tmp_path_factory.mktemp(name)) for name in ("huge", "nan")}
    raw.expression.loc[ids] = 1e6
    raw.expression.loc[ids, "G00"] = [1e6, 9e6]  # of two rows of a gene the other one would now be the larger
    huge, nan = studies["huge"], studies["nan"]
    made.read_genes(huge.folder, made.write(raw, huge.folder / "raw"))
    poison_files(huge, features=6e4, covariate="1e6")
    poison_outcomes(huge, time_days=1e6)
    genes = artifacts.read_pathways(nan.folder / "pathways.h5")
    genes.expression[[genes.patient_id.index(one) for one in ids]] = np.nan
    artifacts.write_pathways(nan.folder / "pathways.h5", genes, options={}, inputs={})
    poison_files(nan, features=np.nan, covariate="")
    poison_outcomes(nan, time_days=np.nan)
    return studies


@pytest.fixture
def other_outcomes(tmp_path: Path) -> Study:
    """The same study, the outcomes alone of its test patients garbage."""
    study = made.prepare(made.draw(), tmp_path)
    poison_outcomes(study, time_days=5.0)
    return study


@ALL
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("garbage", ["huge", "nan"])
def test_test_patients_leave_no_trace(
    clean_fit: Callable[..., Path], poisoned: dict[str, Study], architecture: str, recipe: str, garbage: str
) -> None:
    expected = clean_fit(architecture, **RECIPES[recipe])
    found = made.fit(poisoned[garbage], architecture, **RECIPES[recipe])
    assert made.traces(expected, found) == set()


def test_the_garbage_is_where_it_should_be(clean: Study, poisoned: dict[str, Study]) -> None:
    """Every input of every test patient differs, and no input of anybody else."""
    before, ids = _inputs(clean), made.tested(clean)
    for study in poisoned.values():
        after = _inputs(study)
        for one in clean.patient_id:
            assert [left == right for left, right in zip(before[one], after[one], strict=True)] == [one not in ids] * 5


def _inputs(study: Study) -> dict[str, list[str]]:
    """Of each patient: time, event, covariates, expression and features."""
    outcome = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS).set_index("patient_id")
    covariates = tables.read_table(study.folder / "covariates.tsv", columns=tables.COVARIATES)
    covariates = covariates.set_index("patient_id")
    slides = tables.read_table(study.folder / "slides.tsv", columns=tables.SLIDES).set_index("patient_id")
    genes = artifacts.read_pathways(study.folder / "pathways.h5")
    found = {}
    for one in study.patient_id:
        bags = [path.read_bytes() for path in map(Path, slides.loc[[one], "features"])]
        row = genes.expression[genes.patient_id.index(one)].tolist()
        own = [outcome.loc[one, "time_days"], outcome.loc[one, "event"], list(covariates.loc[one, "value"]), row, bags]
        found[one] = [repr(value) for value in own]
    return found


@ALL
def test_published_is_the_one_exception_and_is_labelled(
    clean_fit: Callable[..., Path], other_outcomes: Study, architecture: str
) -> None:
    options: dict[str, Any] = {"epochs": 3, "checkpoint": "published"}
    expected = clean_fit(architecture, **options)
    found = made.fit(other_outcomes, architecture, **options)
    assert bool(made.traces(expected, found)) == (made.content(found).get("attributes/chosen_on") == "'test'")


def test_no_other_choice_may_read_the_test_part(clean_fit: Callable[..., Path], other_outcomes: Study) -> None:
    """Every value that train.checkpoint may have, also those of later versions."""
    for checkpoint in get_args(config.Train.model_fields["checkpoint"].annotation):
        expected = clean_fit("mlp", checkpoint=checkpoint)
        found = made.fit(other_outcomes, "mlp", checkpoint=checkpoint)
        labelled = made.content(found).get("attributes/chosen_on") == "'test'"
        assert (checkpoint, bool(made.traces(expected, found))) == (checkpoint, labelled)
        assert labelled == (checkpoint == "published")


def leak_scaler(patch: pytest.MonkeyPatch, study: Study) -> None:
    """The scaler of genes is fitted on all patients."""
    fitted, everybody = train.mean_and_scale, artifacts.read_pathways(study.folder / "pathways.h5").expression
    patch.setattr(train, "mean_and_scale", lambda _: fitted([everybody]))


def leak_bins(patch: pytest.MonkeyPatch, study: Study) -> None:
    """The bins of the loss are those of all patients."""
    fitted = train.fit_objective
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS)
    everybody = {"time_days": table["time_days"].to_numpy(), "event": table["event"].to_numpy(bool)}
    patch.setattr(train, "fit_objective", lambda recipe, **_: fitted(recipe, **everybody))


def leak_choice(patch: pytest.MonkeyPatch, study: Study) -> None:
    """The patients who choose the epoch are those of the test part."""
    read = train.study.read_role
    swapped = {"validation": "test"}
    patch.setattr(train.study, "read_role", lambda *a, role, **k: read(*a, role=swapped.get(role, role), **k))


def leak_patients(patch: pytest.MonkeyPatch, study: Study) -> None:
    """Test patients are trained on."""
    read = train.study.read_role
    added = {"train": ["test"]}
    patch.setattr(
        train.study,
        "read_role",
        lambda *a, role, **k: [one for each in [role, *added.get(role, [])] for one in read(*a, role=each, **k)],
    )


@pytest.mark.parametrize(
    ("leak", "trace"),
    [
        (leak_scaler, "scaler/gene_mean"),
        (leak_bins, "baseline/bin_edges_days"),
        (leak_choice, "history/validation_c_index"),
        (leak_patients, "attributes/n_train"),
    ],
)
def test_a_leak_would_be_seen(
    clean_fit: Callable[..., Path],
    poisoned: dict[str, Study],
    monkeypatch: pytest.MonkeyPatch,
    leak: Callable[[pytest.MonkeyPatch, Study], None],
    trace: str,
) -> None:
    expected = clean_fit("mlp", **RECIPES["last"])
    leak(monkeypatch, poisoned["huge"])
    found = made.fit(poisoned["huge"], "mlp", **RECIPES["last"])
    assert trace in made.traces(expected, found)


@ALL
def test_a_patient_who_is_trained_on_leaves_traces_in_every_model(
    other_outcomes: Study, clean_fit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    """The first test fails for an architecture that trains on test patients.

    One that reads risks refuses to: nobody can give it risks of those whom the inner splits do not hold.
    """
    leak_patients(monkeypatch, other_outcomes)
    if architecture in made.STACKED:
        with pytest.raises(InputError, match=r"expected risks of \d+ patients by"):
            made.fit(other_outcomes, architecture)
        return
    expected, found = clean_fit(architecture), made.fit(other_outcomes, architecture)
    assert any(name.startswith(("weights/", "baseline/")) for name in made.traces(expected, found))
