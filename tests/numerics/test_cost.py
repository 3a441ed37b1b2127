"""The estimate of what a study costs, against sums by hand."""

import pytest

from tta_pipeline.numerics.cost import TRAIN_PATCHES_PER_SECOND, Training, estimate


def test_a_study_of_a_thousand_slides() -> None:
    training = Training(fits=5, epochs=30, patients=640, patches=4096)
    tiles, features, train = estimate(
        slides=1000, pixels=4e12, tiles=2e6, width=1024, tiles_per_second=500, training=training
    )
    assert [cost.stage for cost in (tiles, features, train)] == ["tiles", "features", "train"]
    assert features.disk_gb == pytest.approx(2e6 * (1024 * 2 + 8) / 1e9)
    assert features.hours == pytest.approx(2e6 / 500 / 3600)
    # 2,000 tiles per slide are fewer than the 4,096 patches that a step may draw.
    assert train.hours == pytest.approx(5 * 30 * 640 * 2000 / TRAIN_PATCHES_PER_SECOND / 3600)
    assert train.disk_gb == 0


def test_a_long_bag_is_drawn_from() -> None:
    costs = [
        estimate(
            slides=10,
            pixels=1e9,
            tiles=tiles,
            width=8,
            tiles_per_second=1,
            training=Training(fits=1, epochs=1, patients=1, patches=4096),
        )[-1].hours
        for tiles in (40_960, 400_000)
    ]
    assert costs[0] == costs[1]
