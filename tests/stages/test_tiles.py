"""The tiles stage on slides whose tissue is known."""

import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.slides import glass, with_tissue, write_slide
from tta_pipeline.config import BadSlides, Tiles
from tta_pipeline.errors import SlideError
from tta_pipeline.io import artifacts, tables
from tta_pipeline.stages import tiles

ROWS, COLUMNS = slice(128, 512), slice(256, 768)
SMALL = {"mpp": 0.5, "tile_size_px": 64, "mask_mpp": 2.0, "min_object_um2": 500.0, "max_hole_um2": 500.0}


def sheet_of(folder, paths, *, mpp=None, mask=None):
    names = [path.stem for path in paths]
    table = pd.DataFrame(
        {
            "slide_id": names,
            "patient_id": [f"P{row}" for row in range(len(names))],
            "path": [str(path) for path in paths],
        }
    )
    table.assign(mpp=mpp, mask=mask).to_csv(folder / "slides.tsv", sep="\t", index=False)
    return folder / "slides.tsv"


def run(folder, paths, *, sheet_mpp=None, mask=None, policy="fail", again=False, **config):
    tiles.run(
        slides=sheet_of(folder, paths, mpp=sheet_mpp, mask=mask),
        out=folder / "tiles",
        manifest=folder / "tiles" / "batches" / "b0.tsv",
        quality=folder / "tiles" / "batches" / "b0.quality.tsv",
        config=Tiles(**(SMALL | config)),
        bad_slides=BadSlides(policy=policy),
        again=again,
    )
    return tables.read_table(folder / "tiles" / "batches" / "b0.tsv", columns=tables.MANIFEST).set_index("slide_id")


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    pixels = with_tissue(glass(width=1024, height=768), rows=ROWS, columns=COLUMNS)
    return write_slide(tmp_path_factory.mktemp("slides") / "s1.svs", pixels, levels=2)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slides") / "empty.svs", glass(width=512, height=512))


def inside(coords, edge):
    """Which tiles lie within the rectangle of tissue as a whole."""
    x, y = coords.T
    across = (COLUMNS.start <= x) & (x + edge <= COLUMNS.stop)
    return across & (ROWS.start <= y) & (y + edge <= ROWS.stop)


def test_tiles_are_those_on_the_tissue(tmp_path, slide):
    manifest = run(tmp_path, [slide])
    grid = artifacts.read_tiles(tmp_path / "tiles" / "s1.h5")
    assert inside(grid.coords, 64).all()
    assert len(grid.coords) == (384 // 64) * (512 // 64) == manifest.loc["s1", "n"]
    assert manifest.loc["s1", "file"] == str(tmp_path / "tiles" / "s1.h5")


def test_attributes_are_those_that_clam_and_trident_read(tmp_path, slide):
    run(tmp_path, [slide], sheet_mpp=0.2527, overlap_px=16)
    attributes = artifacts.read_tiles(tmp_path / "tiles" / "s1.h5").attributes
    assert attributes == {
        "name": "s1",
        "patch_size": 64,
        "patch_size_level0": 127,  # 64 * 0.5 / 0.2527 = 126.6
        "overlap": 16,
        "overlap_level0": 32,
        "level0_magnification": 40,
        "target_magnification": 20,
        "level0_width": 1024,
        "level0_height": 768,
        "mpp_level0": 0.2527,
        "mpp": 0.5,
        "mpp_source": "sheet",
    }


def test_tiles_stand_at_the_exact_resolution(tmp_path, slide):
    """At mpp 0.2527 a tile of 64 px at 0.5 is 126.63 px wide, and so far apart are they in the mean.

    Corners are even, for 40x is read at half its resolution.
    """
    run(tmp_path, [slide], sheet_mpp=0.2527)
    x = np.unique(artifacts.read_tiles(tmp_path / "tiles" / "s1.h5").coords[:, 0])
    exact = 64 * 0.5 / 0.2527
    assert np.abs(x - np.round(x / exact) * exact).max() <= 1
    assert (x % 2 == 0).all()


def test_less_tissue_is_asked_more_tiles_are_kept(tmp_path, slide):
    counts = [run(tmp_path, [slide], tile_size_px=100, min_tissue=part).loc["s1", "n"] for part in (0.0, 0.3, 0.7, 1.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_a_sample_of_tiles_is_drawn_by_seed(tmp_path, slide):
    def coords(**config):
        run(tmp_path, [slide], **config)
        return artifacts.read_tiles(tmp_path / "tiles" / "s1.h5").coords

    everything, sample = coords(), coords(max_tiles=10)
    assert len(sample) == 10
    assert {tuple(row) for row in sample} < {tuple(row) for row in everything}
    np.testing.assert_array_equal(sample, coords(max_tiles=10))
    assert not np.array_equal(sample, coords(max_tiles=10, seed=1))


def test_the_same_slide_gives_the_same_bytes(tmp_path, slide):
    run(tmp_path, [slide])
    first = (tmp_path / "tiles" / "s1.h5").read_bytes()
    run(tmp_path, [slide], again=True)
    assert (tmp_path / "tiles" / "s1.h5").read_bytes() == first


def test_a_picture_of_every_slide_unless_unwanted(tmp_path, slide):
    run(tmp_path, [slide], overlays=False)
    assert not (tmp_path / "tiles" / "overlays").exists()
    run(tmp_path, [slide])
    picture = np.asarray(Image.open(tmp_path / "tiles" / "overlays" / "s1.png"))
    assert picture.shape[1:] == (256, 3)
    assert picture.shape[0] > 192  # the legend is below
    green = (picture[:192] == (0, 120, 80)).all(axis=2)
    assert green.any()
    assert not green[: ROWS.start // 4 - 1].any()


def quality_of(folder):
    return tables.read_table(folder / "tiles" / "batches" / "b0.quality.tsv", columns=tables.QUALITY).set_index(
        "slide_id"
    )


def test_quality_says_what_became_of_the_tiles(tmp_path, slide, empty):
    pixels = with_tissue(glass(width=1024, height=768), rows=ROWS, columns=COLUMNS)
    pixels[192:320, 256:448] = (30, 80, 180)  # ink on 2 x 3 tiles
    pixels[384:512, 512:768] = (190, 110, 170)  # 2 x 4 tiles without any detail
    other = write_slide(tmp_path / "s2.svs", pixels)
    run(tmp_path, [slide, empty, other], policy="exclude", max_tiles=40)
    quality = quality_of(tmp_path)
    assert list(quality.index) == ["s1", "s2"]
    first, second = (quality.loc[name] for name in ("s1", "s2"))
    assert (first["kept"], first["not_drawn"], first["ink"], first["out_of_focus"]) == (40, 8, 0, 0)
    assert first["tissue_mm2"] == pytest.approx(384 * 512 * 0.5**2 / 1e6, rel=0.05)
    assert (first["mpp"], first["mpp_source"]) == (0.5, "openslide.mpp-x")
    assert 100 < first["focus"] < 5000
    assert 6 <= second["ink"] <= 12  # the ink has a margin
    assert second["out_of_focus"] == 8
    assert second["kept"] + second["not_drawn"] <= 48 - 6 - 8
    assert second["overlay"] == str(tmp_path / "tiles" / "overlays" / "s2.png")


def test_a_slide_that_is_out_of_focus_is_bad(tmp_path):
    pixels = glass(width=512, height=512)
    pixels[64:448, 64:448] = (190, 110, 170)
    path = write_slide(tmp_path / "s1.svs", pixels)
    with pytest.raises(SlideError, match=r"s1: expected tiles in focus, .* found at most .* the scan is out of focus"):
        run(tmp_path, [path])
    assert (tmp_path / "tiles" / "overlays" / "s1.png").is_file(), "the picture that one wants to look at"
    assert run(tmp_path, [path], min_focus=0).loc["s1", "n"] > 0
    with pytest.raises(SlideError, match="expected tiles in focus"):
        run(tmp_path, [path])
    assert not (tmp_path / "tiles" / "s1.h5").exists(), "of the run before"


def test_tissue_that_somebody_else_marked(tmp_path, slide):
    mask = np.zeros((96, 128), dtype=np.uint8)  # an eighth of the slide
    mask[16:32, 32:64] = 255  # the upper left third of the tissue
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert run(tmp_path, [slide], mask="mask.png").loc["s1", "n"] == 2 * 4
    assert artifacts.read_tiles(tmp_path / "tiles" / "s1.h5").coords.tolist()[0] == [256, 128]


def test_a_mask_that_does_not_fit_the_slide(tmp_path, slide):
    Image.fromarray(np.zeros((96, 96), dtype=np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(SlideError, match=r"s1: expected a mask of the whole slide, 1024 x 768 px .*found 96 x 96"):
        run(tmp_path, [slide], mask="mask.png")


@pytest.mark.parametrize("allowed", [False, True])
def test_objective_power_counts_only_where_the_config_allows_it(tmp_path, allowed):
    pixels = with_tissue(glass(width=1024, height=768), rows=ROWS, columns=COLUMNS)
    path = write_slide(tmp_path / "s1.svs", pixels, header="|AppMag = 40")
    if allowed:
        run(tmp_path, [path], mpp_from_objective=True)
        assert quality_of(tmp_path).loc["s1", ["mpp", "mpp_source"]].tolist() == [0.25, "openslide.objective-power"]
    else:
        with pytest.raises(SlideError, match=r"found only an objective power of 40 .*or set tiles.mpp_from_objective"):
            run(tmp_path, [path])


def test_a_resolution_that_does_not_serve(tmp_path, slide):
    message = r"s1: expected a slide of at most 0.525 .* tiles of mpp 0.5 .*found 0.53 \(sheet\) .*too coarsely"
    with pytest.raises(SlideError, match=message):
        run(tmp_path, [slide], sheet_mpp=0.53)
    assert run(tmp_path, [slide], sheet_mpp=0.52).loc["s1", "n"] > 0


def test_empty_glass_has_no_tissue(tmp_path, empty):
    with pytest.raises(SlideError, match=r"empty: expected tissue, found none on .*empty\.svs"):
        run(tmp_path, [empty])


def test_a_slide_smaller_than_a_tile_has_no_tiles(tmp_path, slide):
    with pytest.raises(SlideError, match=r"s1: expected tiles .* found none among the whole tiles of 2048.0 px"):
        run(tmp_path, [slide], tile_size_px=2048)


def test_a_bad_slide_is_left_out_with_its_reason(tmp_path, slide, empty):
    text = tmp_path / "text.svs"
    text.write_text("not a slide")
    manifest = run(tmp_path, [text, slide, empty], policy="exclude")
    assert manifest.loc["text", "excluded"].startswith("text: expected a slide that")
    assert manifest.loc["empty", "excluded"].startswith("empty: expected tissue, found none")
    assert (manifest.loc["s1", "excluded"], manifest.loc["s1", "n"]) == ("", 48)
    assert list(manifest["file"] == "") == [True, False, True]


def test_a_bad_slide_fails_the_job_after_the_others_are_done(tmp_path, slide, empty, caplog):
    with pytest.raises(SlideError, match=r"(?s)expected 2 usable slides, found 1 .*empty: expected tissue"):
        run(tmp_path, [empty, slide])
    assert (tmp_path / "tiles" / "s1.h5").is_file()
    with caplog.at_level(logging.INFO), pytest.raises(SlideError):
        run(tmp_path, [empty, slide])
    assert "1 of 2 slides are finished already" in caplog.text


def test_the_stage_does_without_torch():
    code = "import sys, tta_pipeline.stages.tiles; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.real
def test_real_slides(tmp_path, real_data):
    paths = [real_data / "slides" / name for name in ("cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs")]
    defaults = {name: Tiles.model_fields[name].get_default() for name in SMALL}
    with pytest.raises(
        SlideError, match=r"(?s)found 1 that cannot be used.*tcga-cr-7395.*column mpp of the slides sheet"
    ):
        run(tmp_path, paths, **defaults)
    manifest = run(tmp_path, paths, sheet_mpp=[None, 0.25], **defaults)
    assert list(manifest["excluded"]) == ["", ""]
    assert 30 <= manifest["n"].iloc[0] <= 40
    assert 30 <= manifest["n"].iloc[1] <= 40
