"""Stain normalisation: the target's colours afterwards, and tiles on which nothing can be estimated."""

import numpy as np
import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.io.slide import open_slide
from tta_pipeline.models import stain
from tta_pipeline.models.stain import StainNormaliser


@pytest.fixture(scope="module")
def real_tiles(real_data):
    """A tile of each real slide: one strongly, one weakly stained."""
    found = []
    for name, mpp, left, top in (
        ("cmu-1-small-region.svs", None, 900, 1200),
        ("tcga-cr-7395-01a-01-ts1.svs", 0.25, 1500, 1200),
    ):
        with open_slide(real_data / "slides" / name, slide_id="s", mpp=mpp) as slide:
            edge = 256 * 0.5 / slide.mpp
            found.append(slide.read_tile(left_level0=left, top_level0=top, edge_level0=edge, edge_px=256).copy())
    return found


def colours(tile):
    return tile.reshape(-1, 3).astype(float).mean(axis=0)


@pytest.mark.real
def test_reinhard_gives_the_targets_mean_colours(real_tiles):
    target, tile = real_tiles
    normaliser, normalised = StainNormaliser("reinhard", target), tile.copy()
    normaliser.apply(normalised)
    assert np.abs(colours(normalised) - colours(target)).max() < 6 < np.abs(colours(tile) - colours(target)).max()


@pytest.mark.real
def test_macenko_gives_a_tile_the_two_stains_of_the_target(real_tiles):
    """Afterwards the optical density of each pixel is a mixture of the target's two stain vectors."""
    target, tile = real_tiles
    normaliser, normalised = StainNormaliser("macenko", target), tile.copy()
    normaliser.apply(normalised)
    stains = normaliser._normaliser.HERef.numpy()  # (3, 2)

    def beside(picture):
        """Part of the density that is no mixture of these stains, of pixels that are neither black nor clipped."""
        inner = picture[((picture > 10) & (picture < 235)).all(axis=2)]
        density = -np.log(inner / 240.0)
        mixed = density @ np.linalg.pinv(stains.T) @ stains.T
        return np.linalg.norm(density - mixed) / np.linalg.norm(density)

    assert beside(normalised) < 0.03 < beside(tile)
    assert normaliser.left_alone == 0


@pytest.mark.real
@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_a_tile_without_stain_stays_as_it_is_and_is_counted(real_tiles, method):
    normaliser = StainNormaliser(method, real_tiles[0])
    glass = np.full((64, 64, 3), 245, dtype=np.uint8)
    normaliser.apply(glass)
    assert (glass == 245).all()
    assert normaliser.left_alone == 1


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_a_target_without_stain(method):
    with pytest.raises(InputError, match=r"features.stain_target: expected a picture of stained tissue"):
        StainNormaliser(method, np.full((64, 64, 3), 245, dtype=np.uint8))


def test_without_the_package(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(stain.importlib, "import_module", absent)
    with pytest.raises(InputError, match=r"expected the package torchstain, found none. Install it with: pip install"):
        StainNormaliser("macenko", np.zeros((8, 8, 3), dtype=np.uint8))
