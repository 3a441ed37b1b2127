"""The simulated cohort: its slides are Aperio's, its truth is known, and its signal is where it is said to be."""

import importlib
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
import torch
from lifelines import CoxPHFitter
from PIL import Image
from safetensors.torch import load_file
from skimage import data
from sksurv.metrics import concordance_index_censored

from tests import synthetic
from tests.demo_encoder import TIMM_NAME, timm_key, write_encoder
from tests.synthetic_genes import GENOMICS_SETS, NOISE_SETS, SHARED_SETS, gene_sets, make_expression
from tests.synthetic_slides import Stain, make_slide, write_svs
from tests.synthetic_textures import MORPHOLOGIES, make_textures, noise
from tta_pipeline import config
from tta_pipeline.models.torchvision_import import import_torchvision

ROOT = Path(__file__).resolve().parent.parent
PATIENTS, EDGE_PX = 12, 420
Encoders = tuple[torch.nn.Module, torch.nn.Module]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    synthetic.write_cohort(folder, patients=PATIENTS, seed=3, edge_px=EDGE_PX)
    return folder


@pytest.fixture(scope="module")
def textures() -> dict[str, np.ndarray]:
    return make_textures(np.random.default_rng(0), edge_px=512)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Encoders:
    """The demo's network with random weights, and with those that the demo writes."""
    import_torchvision()
    timm = importlib.import_module("timm")
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    write_encoder(path)
    torch.manual_seed(0)
    untrained, pretrained = (timm.create_model(TIMM_NAME).eval() for _ in range(2))
    pretrained.load_state_dict(load_file(path), strict=True)
    return untrained, pretrained


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t")


def test_each_slide_opens_as_aperio_with_its_resolution(cohort: Path) -> None:
    sheet = read(cohort / "slides.tsv")
    found = []
    for row in sheet.itertuples():
        with openslide.OpenSlide(cohort / row.path) as slide:
            assert slide.properties["openslide.vendor"] == "aperio"
            assert slide.level_count >= 2
            assert slide.level_downsamples[1] == pytest.approx(4, rel=0.02)
            assert "thumbnail" in slide.associated_images
            header = slide.properties.get("openslide.mpp-x")
            power = slide.properties.get("openslide.objective-power")
            assert (header is None) == (not np.isnan(row.mpp)), row.slide_id
            assert power == {None: None, "0.5": "20", "0.25": "40"}[header]
            edge_px = max(slide.dimensions) * float(header or row.mpp) / synthetic.MPP
            assert 0.85 * EDGE_PX < edge_px < 1.15 * EDGE_PX
            found.append(header)
    assert {None, "0.5", "0.25"} == set(found)
    assert found.count(None) == 1


def test_svs_gives_its_pixels_back_at_every_level(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = np.stack([noise(rng, 600, scale_px=25) for _ in range(3)], axis=-1)  # (height, width, channel)
    image = np.clip(150 + 30 * smooth, 0, 255).astype(np.uint8)[:, :500]
    write_svs(tmp_path / "slide.svs", image, mpp=0.5)
    with openslide.OpenSlide(tmp_path / "slide.svs") as slide:
        assert slide.dimensions == (500, 600)
        base = np.asarray(slide.read_region((0, 0), 0, (500, 600)).convert("RGB")).astype(float)
        quarter = np.asarray(slide.read_region((0, 0), 1, (125, 150)).convert("RGB")).astype(float)
    assert np.abs(base - image).mean() < 2.5
    # (rows, 4, columns, 4, channel)
    assert np.abs(quarter - image.reshape(150, 4, 125, 4, 3).mean(axis=(1, 3))).mean() < 2.5


def test_tissue_is_darker_than_glass_and_the_blank_slide_is_glass(cohort: Path) -> None:
    sheet = read(cohort / "slides.tsv")
    dark = []
    for path in sheet["path"]:
        with openslide.OpenSlide(cohort / path) as slide:
            pixels = np.asarray(slide.get_thumbnail((100, 100)).convert("RGB")).astype(int)
        dark.append((np.ptp(pixels, axis=2) > 25).mean())
    assert dark[1] == 0, "the second slide of the first patient holds no tissue"
    assert all(0.25 < fraction < 0.75 for number, fraction in enumerate(dark) if number != 1)


def test_fractions_of_morphologies_are_the_asked_ones(textures: dict[str, np.ndarray]) -> None:
    constants = {name: np.full_like(textures[name], 0.2 + 0.25 * rank) for rank, name in enumerate(("stroma", "solid"))}
    shares = []
    for seed in range(8):
        image = make_slide(
            np.random.default_rng(seed),
            constants,
            fractions={"stroma": 0.7, "solid": 0.3},
            stain=Stain.draw(np.random.default_rng(0)),
            height_px=480,
            width_px=500,
        )
        red = image[..., 0].astype(int)
        levels = red[red < 200]
        shares.append((levels < (np.quantile(levels, 0.02) + np.quantile(levels, 0.98)) / 2).mean())
    assert np.mean(shares) == pytest.approx(0.3, abs=0.08)


def test_textures_wrap_around_and_differ(textures: dict[str, np.ndarray]) -> None:
    assert set(textures) == set(MORPHOLOGIES)
    amounts = {name: texture.mean(axis=(1, 2)) for name, texture in textures.items()}
    assert amounts["solid"][0] > 2 * amounts["glands"][0] > 2 * amounts["necrosis"][0]
    assert amounts["stroma"][1] > 3 * amounts["fat"][1]
    for name, texture in textures.items():
        np.testing.assert_array_equal(texture[:, :, :200], texture[:, :, 512:712], err_msg=name)
        seam = np.abs(texture[:, :, 512] - texture[:, :, 511]).mean()
        inside = np.abs(np.diff(texture, axis=2)).mean()
        assert seam < 1.6 * inside, name


def test_slide_larger_than_its_textures_is_refused(textures: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="expected textures of at least 2000 pixels, found 768"):
        make_slide(rng, textures, fractions={"solid": 1.0}, stain=Stain.draw(rng), height_px=100, width_px=2000)


def test_same_seed_gives_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    synthetic.write_cohort(tmp_path, patients=PATIENTS, seed=3, edge_px=EDGE_PX)
    names = sorted(path.relative_to(cohort) for path in cohort.rglob("*") if path.is_file())
    assert len(names) == 5 + len(read(cohort / "slides.tsv"))
    for name in names:
        assert (tmp_path / name).read_bytes() == (cohort / name).read_bytes(), name


def test_another_seed_gives_another_cohort() -> None:
    first, second = (synthetic.make_truth(np.random.default_rng(seed), patients=20) for seed in (0, 1))
    assert not np.allclose(first["risk"], second["risk"])


def test_sheets_join_and_hold_the_wrinkles(cohort: Path) -> None:
    sheet, clinical, truth, expression = (
        read(cohort / f"{name}.tsv") for name in ("slides", "clinical", "truth", "expression")
    )
    assert set(sheet["patient_id"]) == set(clinical["patient_id"]) == set(truth["patient_id"])
    assert set(truth["patient_id"]) - set(expression["patient_id"]) == {truth["patient_id"].iloc[-1]}
    assert list(clinical.loc[clinical["time_days"].isna(), "patient_id"]) == [truth["patient_id"].iloc[-2]]
    assert sheet["patient_id"].duplicated().any()
    assert (clinical["site"] == clinical["patient_id"].str[5:7]).all()


def test_too_few_patients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 8 patients, found 7"):
        synthetic.write_cohort(tmp_path, patients=7)


def test_c_index_of_the_truth_and_of_each_modality() -> None:
    found = []
    for seed in range(20):
        truth, outcome = simulated(seed, patients=300)
        weights = synthetic.COEFFICIENTS
        seen = {
            "both": truth["risk"],
            "histology": weights["shared"] * truth["shared"] + weights["histology"] * truth["histology"],
            "genomics": weights["shared"] * truth["shared"] + weights["genomics"] * truth["genomics"],
        }
        found.append({name: c_index(outcome, risk) for name, risk in seen.items()})
    mean = pd.DataFrame(found).mean()
    assert 0.80 < mean["both"] < 0.87
    assert mean["histology"] < mean["both"] - 0.04
    assert mean["genomics"] < mean["both"] - 0.04


def test_cox_regression_finds_the_stated_coefficients() -> None:
    truth, outcome = simulated(0, patients=4000)
    fitted = CoxPHFitter().fit(truth[list(synthetic.COEFFICIENTS)].join(outcome), "time_days", "event")
    for name, coefficient in synthetic.COEFFICIENTS.items():
        assert fitted.params_[name] == pytest.approx(coefficient, abs=0.1), name
    assert 1 - outcome["event"].mean() == pytest.approx(synthetic.CENSORED, abs=0.01)


def test_factors_are_uncorrelated_in_the_sample() -> None:
    factors = synthetic.make_truth(np.random.default_rng(0), patients=25)[list(synthetic.COEFFICIENTS)]
    np.testing.assert_allclose(factors.T @ factors / 25, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(factors.mean(), 0, atol=1e-12)


def test_gene_sets_follow_their_factors_and_no_other() -> None:
    truth = synthetic.make_truth(np.random.default_rng(0), patients=200)
    expression = make_expression(
        np.random.default_rng(1),
        shared=truth["shared"].to_numpy(),
        genomics=truth["genomics"].to_numpy(),
        site=(np.arange(200) % 8).tolist(),
    )
    score = {name: expression[genes].mean(axis=1) for name, genes in gene_sets().items()}
    for name in score:
        shared, histology, genomics = (
            abs(np.corrcoef(score[name], truth[factor])[0, 1]) for factor in truth.columns[1:]
        )
        assert histology < 0.3, name
        assert (shared > 0.9) == (name in SHARED_SETS), name
        assert (genomics > 0.9) == (name in GENOMICS_SETS), name
        if name in NOISE_SETS:
            assert max(shared, genomics) < 0.3, name


def test_gmt_holds_the_sets_of_the_matrix(cohort: Path) -> None:
    columns = set(read(cohort / "expression.tsv").columns)
    lines = [line.split("\t") for line in (cohort / "gene_sets.gmt").read_text().splitlines()]
    assert {line[0]: line[2:] for line in lines} == gene_sets()
    assert all(set(line[2:]) <= columns for line in lines)


def test_fractions_follow_the_histology_factors() -> None:
    low, high = (
        synthetic.make_fractions(np.random.default_rng(0), shared=value, histology=value) for value in (-2.0, 2.0)
    )
    assert sum(low.values()) == pytest.approx(1)
    assert high["solid"] > 5 * low["solid"]
    assert high["necrosis"] > 5 * low["necrosis"]
    assert low["glands"] > 5 * high["glands"]
    assert low["lymphocytes"] > 5 * high["lymphocytes"]


def test_encoder_loads_strictly_into_timm_and_knows_what_it_was_trained_on(encoders: Encoders) -> None:
    _, pretrained = encoders
    assert pretrained.forward_head(pretrained.forward_features(normalised(data.coffee())), pre_logits=True).shape == (
        1,
        1280,
    )
    for image, classes in ((data.chelsea(), {281, 282, 285}), (data.coffee(), {967})):
        with torch.inference_mode():
            found = pretrained(normalised(image)).softmax(dim=1)[0]
        assert int(found.argmax()) in classes, "ImageNet: 281, 282, 285 are cats, 967 is espresso"
        assert found[sorted(classes)].sum() > 0.7


def test_encoder_tells_morphologies_apart_by_texture_alone(encoders: Encoders, textures: dict[str, np.ndarray]) -> None:
    untrained, pretrained = encoders
    tiles, labels = labelled_tiles(textures)
    grey = tiles.mean(dim=1, keepdim=True)
    grey = (grey - grey.mean(dim=(2, 3), keepdim=True)) / grey.std(dim=(2, 3), keepdim=True)
    grey = 0.4 * grey.expand(-1, 3, -1, -1)  # (tile, channel, row, column)
    assert separation(pretrained, grey, labels) > 3 * separation(untrained, grey, labels)


def test_encoder_names_of_first_other_and_last_layers() -> None:
    assert timm_key("_conv_stem.weight") == "conv_stem.weight"
    assert timm_key("_blocks.0._project_conv.weight") == "blocks.0.0.conv_pw.weight"
    assert timm_key("_blocks.1._project_conv.weight") == "blocks.1.0.conv_pwl.weight"
    assert timm_key("_blocks.15._bn2.running_var") == "blocks.6.0.bn3.running_var"
    assert timm_key("_fc.bias") == "classifier.bias"


def test_demo_config_loads_and_names_what_is_written(cohort: Path) -> None:
    study = config.load(ROOT / "config" / "demo.yaml")
    files = [study.inputs.slides, study.inputs.clinical, study.inputs.expression, study.inputs.gene_sets]
    assert study.report.truth is not None
    for path in [*files, study.report.truth]:
        assert (cohort / path.name).is_file(), path
    assert study.features.encoder == TIMM_NAME
    assert study.bad_slides == config.BadSlides(policy="exclude", limit=1)
    assert {model.modalities for model in study.models.values()} == {
        ("histology", "genomics"),
        ("histology",),
        ("genomics",),
    }


def simulated(seed: int, *, patients: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    truth = synthetic.make_truth(np.random.default_rng([seed, 0]), patients=patients)
    outcome = synthetic.make_outcome(np.random.default_rng([seed, 1]), risk=truth["risk"].to_numpy())
    return truth, outcome.astype({"time_days": float, "event": bool})


def c_index(outcome: pd.DataFrame, risk: pd.Series) -> float:
    return float(concordance_index_censored(outcome["event"], outcome["time_days"], risk)[0])


def normalised(image: np.ndarray) -> torch.Tensor:
    """The middle of a photograph as the encoder wants it: float32 (1, 3, 224, 224)."""
    edge = min(image.shape[:2])
    top, left = ((length - edge) // 2 for length in image.shape[:2])
    middle = Image.fromarray(image[top : top + edge, left : left + edge]).resize((224, 224), Image.Resampling.BICUBIC)
    return torch.tensor(np.array(middle)).permute(2, 0, 1)[None].float() / 127.5 - 1  # (1, channel, row, column)


def labelled_tiles(textures: dict[str, np.ndarray]) -> tuple[torch.Tensor, np.ndarray]:
    """Eight tiles of each morphology in eight stains, normalised for the encoder: float32 (48, 3, 224, 224)."""
    rng = np.random.default_rng(0)
    tiles, labels = [], []
    for label, name in enumerate(MORPHOLOGIES):
        for _ in range(8):
            top, left = rng.integers(512, size=2)
            amounts = textures[name][:, top : top + 224, left : left + 224]
            density = np.tensordot(Stain.draw(rng).vectors.T, amounts, axes=1)  # (3, 224, 224)
            tiles.append(2 * 10**-density - 1)
            labels.append(label)
    return torch.tensor(np.stack(tiles), dtype=torch.float32), np.array(labels)


def separation(model: torch.nn.Module, tiles: torch.Tensor, labels: np.ndarray) -> float:
    """Variance between morphologies over variance within them, of standardised features."""
    with torch.inference_mode():
        features = model.forward_head(model.forward_features(tiles), pre_logits=True).numpy()
    assert np.isfinite(features).all()
    features = features[:, features.std(axis=0) > 1e-9]
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    means = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
    within = np.mean([features[labels == label].var(axis=0).mean() for label in np.unique(labels)])
    return float(means.var(axis=0).mean() / within)
