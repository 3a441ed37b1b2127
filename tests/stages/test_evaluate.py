import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import GENES, Study, write_features_file, write_pathways, write_study
from tta_pipeline import config
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, tables
from tta_pipeline.io.artifacts import Predictions
from tta_pipeline.numerics.modalities import partners
from tta_pipeline.stages import evaluate, train

MODEL = {"hidden_dim": 8, "shared_dim": 8, "prototypes": 3, "heads": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with one trained model, train.h5."""
    study = write_study(tmp_path_factory.mktemp("study"))
    train_one(study)
    return study


def train_one(study: Study, **options: Any) -> None:
    train.run(
        **study.inputs,  # type: ignore[arg-type]
        repeat=0,
        fold=0,
        seed=3,
        name="small",
        out=study.folder / "train.h5",
        model=config.TTA(**MODEL | options),
        config=config.Train(epochs=3, batch_size=8, device="cpu"),
        bad_slides=config.BadSlides(),
    )


@pytest.fixture
def study(finished: Study, tmp_path: Path) -> Study:
    """A copy that a test may change; its slides table still names the feature files of the original."""
    copied = Study(shutil.copytree(finished.folder, tmp_path / "copy"), finished.patient_id)
    table = tables.read_table(copied.folder / "slides.tsv", columns=tables.SLIDES)
    table["features"] = table["features"].str.replace(str(finished.folder), str(copied.folder), regex=False)
    tables.write_table(copied.folder / "slides.tsv", table, columns=tables.SLIDES)
    return copied


def evaluated(study: Study, **options: Any) -> Predictions:
    out = study.folder / "evaluate.h5"
    evaluate.run(
        trained=study.folder / "train.h5",
        **study.inputs,  # type: ignore[arg-type]
        out=out,
        config=config.Evaluate(**{"device": "cpu"} | options),
        bad_slides=config.BadSlides(),
    )
    return artifacts.read_predictions(out)


def test_predictions_are_of_the_test_patients_with_their_outcome(study: Study) -> None:
    found = evaluated(study)
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS).set_index("patient_id")
    assert found.patient_id == study.ids("test")
    np.testing.assert_array_equal(found.time_days, table.loc[found.patient_id, "time_days"])
    np.testing.assert_array_equal(found.event, table.loc[found.patient_id, "event"])
    assert np.isfinite(found.risk).all()
    expected = {"name": "small", "repeat": 0, "fold": 0, "seed": 3, "n_train": 16, "n_validation": 4, "epoch": 3}
    assert expected.items() <= found.attributes.items()


def test_the_same_model_gives_the_same_risk_every_time(study: Study) -> None:
    first, again = evaluated(study), evaluated(study)
    assert first.risk.tobytes() == again.risk.tobytes()
    assert first.survival.tobytes() == again.survival.tobytes()


def test_a_risk_comes_from_all_patches(study: Study) -> None:
    before = evaluated(study)
    one = study.features(before.patient_id[0])[-1]
    features = artifacts.read_features(one)
    features[-1] += 3
    write_features_file(one, features)
    changed = before.risk != evaluated(study).risk
    assert changed[0]
    np.testing.assert_allclose(evaluated(study).risk[1:], before.risk[1:], atol=1e-6)


def test_above_max_patches_a_patient_keeps_the_same_seeded_subset(study: Study) -> None:
    full, cut, again = evaluated(study), evaluated(study, max_patches=3), evaluated(study, max_patches=3)
    assert cut.risk.tobytes() == again.risk.tobytes()
    assert not np.allclose(cut.risk, full.risk, atol=1e-6)
    assert not np.allclose(cut.risk, evaluated(study, max_patches=3, seed=1).risk, atol=1e-6)


def test_survival_falls_with_time_and_with_risk_and_ends_with_support(study: Study) -> None:
    last = artifacts.read_checkpoint(study.folder / "train.h5").baseline["time_days"][-1]
    found = evaluated(study, horizons_days=(1.0, float(last), float(last) + 1))
    assert (found.survival[:, 0] >= found.survival[:, 1]).all()
    assert np.isnan(found.survival[:, 2]).all()
    order = np.argsort(found.risk)
    assert (np.diff(found.survival[order, 1]) <= 0).all()


def test_the_mass_and_heads_of_training_are_used(study: Study) -> None:
    before = evaluated(study).risk
    checkpoint = artifacts.read_checkpoint(study.folder / "train.h5")
    assert 0.106 < checkpoint.weights["rho"] < 1
    checkpoint.weights["rho"] = np.float32(1.0)
    inputs = {"splits": study.folder / "splits.tsv"}
    artifacts.write_checkpoint(study.folder / "train.h5", checkpoint, options={}, inputs=inputs)
    assert not np.allclose(before, evaluated(study).risk, rtol=0, atol=1e-7)


def test_genes_in_another_order_are_an_error(study: Study) -> None:
    pathways = artifacts.read_pathways(study.folder / "pathways.h5")
    write_pathways(
        study.folder / "pathways.h5",
        ids=pathways.patient_id,
        expression=pathways.expression,
        genes=[f"G{number}" for number in reversed(range(GENES))],
    )
    with pytest.raises(InputError, match=r"expected the genes that .* was trained on"):
        evaluated(study)


def test_features_of_another_width_are_an_error(study: Study) -> None:
    for one in study.ids("test"):
        for path in study.features(one):
            write_features_file(path, np.ones((3, 4), dtype=np.float16))
    with pytest.raises(InputError, match=r"expected features of width 6, .* found width 4"):
        evaluated(study)


def test_other_splits_than_those_of_the_training_are_an_error(study: Study) -> None:
    table = tables.read_table(study.folder / "splits.tsv", columns=tables.SPLITS)
    table["role"] = table["role"].map({"train": "test", "test": "train", "validation": "validation"})
    tables.write_table(study.folder / "splits.tsv", table, columns=tables.SPLITS)
    with pytest.raises(InputError, match=r"expected the splits that .*train.h5 was trained on, found others"):
        evaluated(study)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"hidden_dim": 16}, r"train.h5: expected the weights .* found others: .*size mismatch"),
        ({"anchors": False}, r"train.h5: expected the weights .* found others: .*[Uu]nexpected key.*anchors"),
        ({"hidden_dim": -1}, r"train.h5: the model's section: tta.hidden_dim: Input should be greater"),
        ({"wings": 2}, r"train.h5: the model's section: tta.wings: Extra inputs"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_an_error(
    study: Study, section: dict[str, object], message: str
) -> None:
    checkpoint = artifacts.read_checkpoint(study.folder / "train.h5")
    checkpoint.attributes["model"] |= section
    inputs = {"splits": study.folder / "splits.tsv"}
    artifacts.write_checkpoint(study.folder / "train.h5", checkpoint, options={}, inputs=inputs)
    with pytest.raises(InputError, match=f"(?s){message}"):
        evaluated(study)


def test_a_fold_without_test_patients_is_an_error(tmp_path: Path) -> None:
    study = write_study(tmp_path, n_test=0)
    train_one(study)
    with pytest.raises(InputError, match="expected test patients in repeat 0, fold 0, found none"):
        evaluated(study)


def test_another_patients_modality_is_scored_as_if_it_stood_in_the_files(study: Study) -> None:
    """The risks of each draw are those of the patients after their partners' features or genes were written to them."""
    found = evaluated(study, exchanges=2)
    assert {name: risks.shape for name, risks in found.exchanged.items()} == {"genomics": (2, 5), "histology": (2, 5)}
    generator = np.random.default_rng([0, 5])
    rows = partners(5, generator=generator)
    pathways = artifacts.read_pathways(study.folder / "pathways.h5")
    at = [pathways.patient_id.index(one) for one in found.patient_id]
    original = pathways.expression.copy()
    pathways.expression[at] = original[at][rows]
    write_pathways(study.folder / "pathways.h5", ids=pathways.patient_id, expression=pathways.expression)
    np.testing.assert_allclose(evaluated(study, exchanges=0).risk, found.exchanged["genomics"][0], atol=1e-5)
    assert not np.allclose(found.exchanged["genomics"][0], found.risk)
    write_pathways(study.folder / "pathways.h5", ids=pathways.patient_id, expression=original)
    table = tables.read_table(study.folder / "slides.tsv", columns=tables.SLIDES)
    partner = dict(zip(np.array(found.patient_id)[rows], found.patient_id, strict=True))
    table["patient_id"] = table["patient_id"].map(lambda name: partner.get(name, name)).astype("string")
    tables.write_table(study.folder / "slides.tsv", table, columns=tables.SLIDES)
    np.testing.assert_allclose(evaluated(study, exchanges=0).risk, found.exchanged["histology"][0], atol=1e-5)


@pytest.mark.parametrize(("n_test", "exchanges"), [(5, 0), (1, 2)])
def test_without_draws_the_artifact_still_says_that_the_model_has_two_modalities(
    tmp_path: Path, n_test: int, exchanges: int
) -> None:
    study = write_study(tmp_path, n_test=n_test)
    train_one(study)
    found = evaluated(study, exchanges=exchanges).exchanged
    assert {name: risks.shape for name, risks in found.items()} == {"genomics": (0, n_test), "histology": (0, n_test)}


def test_a_model_of_one_modality_has_none_to_exchange(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    train_one(study, modalities=("genomics",))
    assert evaluated(study).exchanged == {}


def test_a_checkpoint_of_an_older_version_is_to_be_made_again(study: Study) -> None:
    checkpoint = artifacts.read_checkpoint(study.folder / "train.h5")
    del checkpoint.attributes["recipe"]
    inputs = {"splits": study.folder / "splits.tsv"}
    artifacts.write_checkpoint(study.folder / "train.h5", checkpoint, options={}, inputs=inputs)
    with pytest.raises(InputError, match=r"train\.h5: expected the recipe of its training, .*Train again"):
        evaluated(study)


def test_the_curve_meets_the_survival_at_its_horizons(study: Study) -> None:
    found = evaluated(study)
    baseline = artifacts.read_checkpoint(study.folder / "train.h5").baseline["time_days"]
    assert set(found.curve_days) <= set(baseline)
    assert found.curve_days[[0, -1]].tolist() == baseline[[0, -1]].tolist()
    assert (np.diff(found.curves, axis=1) <= 0).all()
    at = evaluated(study, horizons_days=tuple(found.curve_days))
    np.testing.assert_array_equal(at.survival, found.curves)
