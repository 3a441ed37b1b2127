"""The features stage with timm's tiny test model and seeded weights."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.slides import damage, glass, with_tissue, write_slide
from tests.stages import test_tiles as tiles_stage
from tta_pipeline.config import BadSlides, Features
from tta_pipeline.errors import ArtifactError, InputError, SlideError
from tta_pipeline.io import artifacts, hdf5, tables
from tta_pipeline.models.encoders import Submitted, load_encoder
from tta_pipeline.models.torchvision_import import import_torchvision
from tta_pipeline.stages import features

ENCODER = "test_resnet"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    import_torchvision()
    import timm

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "encoder.safetensors"
    save_file(timm.create_model(ENCODER, pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def pixels():
    return with_tissue(glass(width=1024, height=768), rows=tiles_stage.ROWS, columns=tiles_stage.COLUMNS)


@pytest.fixture
def slide(tmp_path, pixels):
    return write_slide(tmp_path / "s1.svs", pixels)


def run(folder, weights, *, policy="fail", again=False, **config):
    features.run(
        slides=folder / "slides.tsv",
        tiles=folder / "tiles" / "batches" / "b0.tsv",
        out=folder / "features",
        manifest=folder / "features" / "batches" / "b0.tsv",
        config=Features(**({"encoder": ENCODER, "weights": weights, "device": "cpu", "batch_size": 7} | config)),
        bad_slides=BadSlides(policy=policy),
        again=again,
    )
    return tables.read_table(folder / "features" / "batches" / "b0.tsv", columns=tables.MANIFEST).set_index("slide_id")


def test_features_are_those_of_the_pixels_at_the_coordinates(tmp_path, slide, pixels, weights):
    tiles_stage.run(tmp_path, [slide])
    manifest = run(tmp_path, weights)
    found = artifacts.read_features(tmp_path / "features" / "s1.h5")
    coords = artifacts.read_tiles(tmp_path / "tiles" / "s1.h5").coords
    encoder = load_encoder(Features(encoder=ENCODER, weights=weights, device="cpu"))
    expected = encoder.encode(np.stack([pixels[y : y + 64, x : x + 64] for x, y in coords]))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)
    assert found.dtype == np.float16
    assert manifest.loc["s1", "n"] == len(coords) == 48


def test_threads_and_batches_make_no_difference(tmp_path, slide, weights):
    tiles_stage.run(tmp_path, [slide])
    found = []
    for batch_size, threads in ((1, 1), (48, 3)):
        run(tmp_path, weights, batch_size=batch_size, decode_threads=threads)
        found.append(artifacts.read_features(tmp_path / "features" / "s1.h5"))
    np.testing.assert_allclose(found[0], found[1], rtol=2e-3, atol=1e-4)


def test_the_file_says_what_it_was_made_with(tmp_path, slide, weights):
    tiles_stage.run(tmp_path, [slide])
    run(tmp_path, weights)
    made = artifacts.read_tiles(tmp_path / "tiles" / "s1.h5").attributes
    with hdf5.open_artifact(tmp_path / "features" / "s1.h5", kind="features") as file:
        attributes = dict(file["coords"].attrs)
        options = file.attrs["options"]
    sha256 = load_encoder(Features(encoder=ENCODER, weights=weights)).weights_sha256
    transform = "mean [0.5, 0.5, 0.5]; std [0.5, 0.5, 0.5]"
    made_by = {"encoder": ENCODER, "precision": "fp32", "weights_sha256": sha256, "transform": transform}
    assert attributes == made | made_by
    assert sha256 in options


def test_a_slide_without_tiles_is_passed_on_with_its_reason(tmp_path, slide, weights):
    (tmp_path / "text.svs").write_text("not a slide")
    tiles_stage.run(tmp_path, [tmp_path / "text.svs", slide], policy="exclude")
    manifest = run(tmp_path, weights, policy="exclude")
    assert manifest.loc["text", "excluded"].startswith("text: expected a slide that")
    assert manifest.loc["text", "file"] == ""
    assert manifest.loc["s1", "excluded"] == ""


def test_a_slide_that_cannot_be_decoded(tmp_path, slide, pixels, weights):
    tiles_stage.run(tmp_path, [slide, write_slide(tmp_path / "s2.svs", pixels)])
    damage(slide, slide, tile=16 * 4 + 6)  # on the tissue, as a broken disk would
    with pytest.raises(
        SlideError, match=r"(?s)found 1 that cannot be used:.*s1: expected readable pixels at x .*s1\.svs"
    ):
        run(tmp_path, weights)
    assert not (tmp_path / "features" / "s1.h5").exists()
    assert (tmp_path / "features" / "s2.h5").is_file()
    assert "expected readable pixels" in run(tmp_path, weights, policy="exclude").loc["s1", "excluded"]


def test_a_slide_that_has_gone_since_tiles_is_one_that_cannot_be_used(tmp_path, slide, pixels, weights):
    tiles_stage.run(tmp_path, [slide, write_slide(tmp_path / "s2.svs", pixels)])
    slide.unlink()
    manifest = run(tmp_path, weights, policy="exclude")
    assert manifest.loc["s1", "excluded"].startswith(f"s1: expected a slide at {slide}, found nothing")
    assert manifest.loc["s2", "excluded"] == ""


@pytest.mark.parametrize("scale", [1e6, float("nan")], ids=["too large", "NaN"])
def test_features_that_float16_cannot_hold_are_never_stored(tmp_path, slide, weights, monkeypatch, scale):
    tiles_stage.run(tmp_path, [slide])
    result = Submitted.result
    monkeypatch.setattr(Submitted, "result", lambda self: result(self) * np.float32(scale))
    with pytest.raises(
        SlideError, match=r"s1: expected features that float16 can hold, found NaN, infinity or more than 65504"
    ):
        run(tmp_path, weights)
    assert not (tmp_path / "features" / "s1.h5").exists()


def test_tiles_of_another_slide(tmp_path, slide, pixels, weights):
    tiles_stage.run(tmp_path, [slide])
    write_slide(slide, pixels[:700])
    with pytest.raises(
        ArtifactError, match=r"s1: expected the slide that its tiles were made on.*\(1024, 768.*\(1024, 700"
    ):
        run(tmp_path, weights)


def test_a_manifest_of_another_batch(tmp_path, slide, weights):
    tiles_stage.run(tmp_path, [slide])
    tiles_stage.sheet_of(tmp_path, [slide, Path(shutil.copy(slide, tmp_path / "new.svs"))])
    with pytest.raises(ArtifactError, match=r"expected tiles of 2 slides, found none of new. Run tiles again"):
        run(tmp_path, weights)


def test_a_stopped_job_goes_on_and_another_precision_starts_anew(tmp_path, slide, pixels, weights, monkeypatch):
    tiles_stage.run(tmp_path, [slide, write_slide(tmp_path / "s2.svs", pixels)])
    worked_on = []

    def watched(task, *arguments, **options):
        if task.slide_id == stop_at:
            raise KeyboardInterrupt
        worked_on.append(task.slide_id)
        return write(task, *arguments, **options)

    write = features._write
    monkeypatch.setattr(features, "_write", watched)
    stop_at = "s2"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, weights)
    stop_at = None
    with pytest.raises(InputError, match="expected weights"):
        run(tmp_path, tmp_path / "none.safetensors")
    run(tmp_path, weights, batch_size=5)
    assert worked_on == ["s1", "s2"]
    stop_at = "s2"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, weights, again=True)
    stop_at = None
    run(tmp_path, weights, precision="bf16")
    assert worked_on == ["s1", "s2", "s1", "s1", "s2"]


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_one_bad_slide_among_others(tmp_path, slide, pixels, weights, batch_size):
    """Batches span slides: the others' features are the same with and without a bad one between them."""
    paths = [slide, write_slide(tmp_path / "s2.svs", pixels), write_slide(tmp_path / "s3.svs", pixels[::-1])]
    tiles_stage.run(tmp_path, paths)
    run(tmp_path, weights, batch_size=batch_size)
    expected = {name: artifacts.read_features(tmp_path / "features" / f"{name}.h5") for name in ("s1", "s2", "s3")}
    damage(paths[1], paths[1], tile=16 * 6 + 6)
    manifest = run(tmp_path, weights, batch_size=batch_size, policy="exclude", again=True)
    assert list(manifest["n"]) == [48, 0, 48]
    for name in ("s1", "s3"):
        np.testing.assert_array_equal(artifacts.read_features(tmp_path / "features" / f"{name}.h5"), expected[name])


def test_one_process_serves_all_slides_and_says_how_fast(tmp_path, slide, weights, monkeypatch, caplog):
    tiles_stage.run(tmp_path, [slide, Path(shutil.copy(slide, tmp_path / "s2.svs"))])
    loaded = []
    monkeypatch.setattr(features, "load_encoder", lambda config, job: loaded.append(1) or load_encoder(config))
    caplog.set_level("INFO")
    run(tmp_path, weights)
    assert loaded == [1]
    assert re.search(r"96 tiles in .* tiles/s; \d+ % of the time waiting for tiles", caplog.text)


def test_tiles_of_one_stain(tmp_path, slide, pixels, weights):
    """A slide and its paler copy have nearer features with the stain of one target, and glass stays what it is."""
    pale = (255 - (255 - pixels.astype(float)) * 0.6).astype(np.uint8)
    tiles_stage.run(tmp_path, [slide, write_slide(tmp_path / "s2.svs", pale)])
    Image.fromarray(pixels[128:256, 256:384]).save(tmp_path / "target.png")
    distance = {}
    for stain in ("none", "reinhard"):
        target = None if stain == "none" else tmp_path / "target.png"
        run(tmp_path, weights, stain=stain, stain_target=target)
        found = [artifacts.read_features(tmp_path / "features" / f"{name}.h5").astype(float) for name in ("s1", "s2")]
        distance[stain] = np.abs(found[0].mean(axis=0) - found[1].mean(axis=0)).mean()
    assert distance["reinhard"] < 0.3 * distance["none"]


@pytest.mark.real
def test_real_slides(tmp_path, real_data, weights):
    paths = [real_data / "slides" / name for name in ("cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs")]
    defaults = {name: tiles_stage.Tiles.model_fields[name].get_default() for name in tiles_stage.SMALL}
    tiles_stage.run(tmp_path, paths, sheet_mpp=[None, 0.25], **defaults)
    run(tmp_path, weights)
    for path in paths:
        found = artifacts.read_features(tmp_path / "features" / f"{path.stem}.h5")
        assert found.std(axis=0).max() > 0, "tiles differ"
