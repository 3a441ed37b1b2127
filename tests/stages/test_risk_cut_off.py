"""The cut-off of risk groups that a training leaves: the median risk of its training patients, and of nobody else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.builders import Study, write_study
from tta_pipeline import config, model_sections
from tta_pipeline.config import Train
from tta_pipeline.io import artifacts, tables
from tta_pipeline.model_sections import Model
from tta_pipeline.reporting.fits import TRAIN_MEDIAN, train_medians
from tta_pipeline.stages import evaluate, train

NETWORK = config.TTA(hidden_dim=8, shared_dim=8, prototypes=3, heads=2)
NET = model_sections.ElasticNet(architecture="elastic-net", penalties=10)
FOREST = model_sections.SurvivalForest(architecture="survival-forest", trees=20, min_samples_leaf=5)
BRIEF = {"epochs": 2, "batch_size": 16, "patches": 5, "device": "cpu"}


def study_of_known_patients(folder: Path) -> Study:
    """A study whose test patients are those of the training part, which the splits stage would refuse."""
    study = write_study(folder, n_train=40, n_validation=6, seed=3)
    table = tables.read_table(folder / "splits.tsv", columns=tables.SPLITS)
    again = table[table["role"] == "train"].assign(role="test")
    both = pd.concat([table[table["role"] != "test"], again])
    tables.write_table(folder / "splits.tsv", both, columns=tables.SPLITS)
    return study


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        (NETWORK, Train(**BRIEF)),
        (NETWORK, Train(**BRIEF, loss="nll", bins=2)),
        (NET, Train()),
        (FOREST, Train()),
    ],
    ids=["network", "network of bins", "elastic net", "forest"],
)
def test_the_cut_off_is_the_median_of_the_risks_that_evaluation_gives_the_training_patients(
    tmp_path: Path, model: Model, recipe: Train
) -> None:
    study = study_of_known_patients(tmp_path)
    shared = study.inputs | {"bad_slides": config.BadSlides()}
    fit = {"repeat": 0, "fold": 0, "seed": 0}
    train.run(**shared, **fit, name="small", out=tmp_path / "train.h5", model=model, config=recipe)  # type: ignore[arg-type]
    options = config.Evaluate(device="cpu", exchanges=0)
    evaluate.run(**shared, trained=tmp_path / "train.h5", out=tmp_path / "evaluate.h5", config=options)  # type: ignore[arg-type]
    found = artifacts.read_predictions(tmp_path / "evaluate.h5")
    checkpoint = artifacts.read_checkpoint(tmp_path / "train.h5")
    assert found.patient_id == study.ids("train")
    assert np.ptp(found.risk) > 1e-3
    assert checkpoint.attributes[TRAIN_MEDIAN] == pytest.approx(np.median(found.risk), abs=1e-6)
    assert train_medians([checkpoint]) == {(0, 0, 0): checkpoint.attributes[TRAIN_MEDIAN]}
