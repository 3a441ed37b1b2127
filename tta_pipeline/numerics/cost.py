"""What a study will cost, before it runs: disk and time of the stages that take long."""

from collections.abc import Sequence
from dataclasses import dataclass

_COORDS_BYTES = 8  # two int32 per tile
_OVERLAY_BYTES = 300_000
_FEATURE_BYTES = 2  # float16
_GB, _HOUR = 1e9, 3600.0
# Two CPU cores (benchmarks/RESULTS.md): masks and grids of slides; patches through TTA's training.
TILES_PIXELS_PER_SECOND = 1.1e9
TRAIN_PATCHES_PER_SECOND = 25_000.0


@dataclass(frozen=True)
class Cost:
    """Disk and time of one stage, all its jobs one after the other."""

    stage: str
    disk_gb: float
    hours: float


@dataclass(frozen=True)
class Training:
    """How much training a model asks for: its fits, their epochs, patients of a fit, patches per patient and step."""

    fits: int
    epochs: int
    patients: float
    patches: int


def estimate(*, slides: int, pixels: float, tiles: float, width: int, tiles_per_second: float) -> list[Cost]:
    """Cost of `tiles` and `features`, jobs one after the other.

    Parameters
    ----------
    slides, pixels
        Number of slides, and pixels of their level 0 in all.
    tiles
        Tiles expected of all slides.
    width
        Features per tile.
    tiles_per_second
        Through the encoder.
    """
    return [
        Cost(
            "tiles", (tiles * _COORDS_BYTES + slides * _OVERLAY_BYTES) / _GB, pixels / TILES_PIXELS_PER_SECOND / _HOUR
        ),
        Cost("features", tiles * (width * _FEATURE_BYTES + _COORDS_BYTES) / _GB, tiles / tiles_per_second / _HOUR),
    ]


def estimate_training(models: Sequence[Training], *, bag: float) -> Cost:
    """Cost of `train` with `bag` patches per patient, every model as if it were TTA."""
    passes = sum(each.fits * each.epochs * each.patients * min(float(each.patches), bag) for each in models)
    return Cost("train", 0.0, passes / TRAIN_PATCHES_PER_SECOND / _HOUR)
