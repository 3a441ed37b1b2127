"""The order in which patients, slides, files, genes and sets are written says nothing, and changes nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.builders import Study
from tests.leaks import study as made
from tta_pipeline import config
from tta_pipeline.io import artifacts, study, tables
from tta_pipeline.model_sections import ARCHITECTURES

ALL = pytest.mark.parametrize("architecture", ARCHITECTURES)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same study, everything in another order and every file under another name."""
    return made.prepare(made.shuffled(made.draw(), seed=1), tmp_path_factory.mktemp("mixed"))


def test_the_order_differs_where_it_should(clean: Study, mixed: Study) -> None:
    for name in ("sheet.csv", "clinical.csv", "rna.csv", "sets.gmt"):
        before, after = ((one.folder / "raw" / name).read_text().splitlines() for one in (clean, mixed))
        assert len(before) == len(after)
        assert before != after


def test_the_stages_before_training_write_the_same(clean: Study, mixed: Study) -> None:
    for name in ("patients.tsv", "splits.tsv"):
        assert (clean.folder / name).read_bytes() == (mixed.folder / name).read_bytes()
    rows = [sorted((one.folder / "covariates.tsv").read_text().splitlines()) for one in (clean, mixed)]
    assert rows[0] == rows[1]  # rows of the clinical table, which are found by patient
    before, after = (artifacts.read_pathways(one.folder / "pathways.h5") for one in (clean, mixed))
    assert repr(vars(before)) == repr(vars(after))
    np.testing.assert_array_equal(before.expression, after.expression)


def test_a_bag_holds_the_slides_in_the_order_of_their_names(clean: Study, mixed: Study) -> None:
    for one in (clean, mixed):
        known = study.read_patients(
            patients=one.folder / "patients.tsv",
            slides=one.folder / "slides.tsv",
            manifests=[],
            bad_slides=config.BadSlides(),
        )
        raw = made.draw()
        for patient_id, patient in known.items():
            bag = np.concatenate([artifacts.read_features(path) for path in patient.features])
            own = sorted(slide for slide, (name, _) in raw.bags.items() if name == patient_id)
            np.testing.assert_array_equal(bag, np.concatenate([raw.bags[slide][1] for slide in own]))


@ALL
def test_training_and_risks_are_the_same_bytes(
    clean: Study, mixed: Study, clean_fit: Callable[..., Path], architecture: str
) -> None:
    trained = made.fit(mixed, architecture)
    assert made.traces(clean_fit(architecture), trained) == set()
    before, after = made.predict(clean, trained), made.predict(mixed, trained)
    assert before.patient_id == after.patient_id
    assert before.risk.tobytes() == after.risk.tobytes()
    assert before.survival.tobytes() == after.survival.tobytes()


@pytest.fixture(scope="session")
def exchanged(clean: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same study, the test patients but the first having each other's inputs and outcomes."""
    raw, others = made.draw(), made.tested(clean)[1:]
    partner = dict(zip(others, others[::-1], strict=True))
    raw.expression = raw.expression.rename(index=partner)
    raw.bags = {slide: (partner.get(name, name), features) for slide, (name, features) in raw.bags.items()}
    known = ["age", "stage"]
    raw.outcome.loc[others, known] = raw.outcome.loc[others[::-1], known].to_numpy()
    outcome = tables.read_table(clean.folder / "patients.tsv", columns=tables.PATIENTS).set_index("patient_id")
    changed = made.prepare(raw, tmp_path_factory.mktemp("exchanged"))
    made.change_outcomes(changed, outcome.loc[others].rename(index=partner))
    return changed


@ALL
def test_a_risk_depends_on_nobody_else_who_is_tested(
    clean: Study, exchanged: Study, clean_fit: Callable[..., Path], architecture: str
) -> None:
    """To rounding: sums over a batch are cut into other pieces where its padding changes."""
    before, after = (made.predict(one, clean_fit(architecture)) for one in (clean, exchanged))
    if np.ptp(before.risk) > 0:  # a penalty may leave nothing of a model of noise
        assert not np.allclose(before.risk[1:], after.risk[1:])
    np.testing.assert_allclose(after.risk[0], before.risk[0], rtol=1e-5, atol=1e-6)
