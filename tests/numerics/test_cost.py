"""The estimate of what a study costs, against sums by hand."""

import pytest

from tta_pipeline.numerics.cost import TRAIN_PATCHES_PER_SECOND, Training, estimate, estimate_training


def test_a_study_of_a_thousand_slides() -> None:
    tiles, features = estimate(slides=1000, pixels=4e12, tiles=2e6, width=1024, tiles_per_second=500)
    assert [cost.stage for cost in (tiles, features)] == ["tiles", "features"]
    assert features.disk_gb == pytest.approx(2e6 * (1024 * 2 + 8) / 1e9)
    assert features.hours == pytest.approx(2e6 / 500 / 3600)


def test_training_is_that_of_all_models_each_with_its_patches() -> None:
    first = Training(fits=5, epochs=30, patients=640, patches=4096)
    second = Training(fits=5, epochs=2, patients=640, patches=100)
    train = estimate_training([first, second], bag=2000)
    passes = 5 * 30 * 640 * 2000 + 5 * 2 * 640 * 100
    assert (train.stage, train.disk_gb) == ("train", 0)
    assert train.hours == pytest.approx(passes / TRAIN_PATCHES_PER_SECOND / 3600)
    assert estimate_training([first], bag=5000).hours == estimate_training([first], bag=4096).hours
