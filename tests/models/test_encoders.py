"""Encoders: features against timm run by hand, and weights that do not fit."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tta_pipeline.config import Features
from tta_pipeline.errors import InputError
from tta_pipeline.models import encoders, torchvision_import
from tta_pipeline.models.encoders import load_encoder, weights_sha256
from tta_pipeline.models.presets import PRESETS

torchvision_import.import_torchvision()
import timm  # noqa: E402

CONVOLUTIONAL, TRANSFORMER = "test_resnet", "test_vit"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def models(folder):
    """timm's two tiny test models with seeded weights, classifier and all, saved as .safetensors and .pth."""
    made = {}
    for name in (CONVOLUTIONAL, TRANSFORMER):
        torch.manual_seed(0)
        made[name] = timm.create_model(name, pretrained=False).eval()
        save_file(made[name].state_dict(), folder / f"{name}.safetensors")
        torch.save({"state_dict": made[name].state_dict()}, folder / f"{name}.pth")
    return made


@pytest.fixture(scope="module")
def tiles():
    return np.random.default_rng(0).integers(0, 256, size=(3, 64, 64, 3), dtype=np.uint8)


def options(folder, name=CONVOLUTIONAL, *, suffix=".safetensors", **changed):
    return Features(encoder=name, weights=folder / f"{name}{suffix}", device="cpu", **changed)


def by_hand(model, tiles, *, size_px=None):
    """Features before the classifier, in timm's own terms."""
    data = timm.data.resolve_data_config(model=model)
    images = torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255
    if size_px is not None:
        images = torch.nn.functional.interpolate(images, size_px, mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(data[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        hidden = model.forward_features((images - mean) / std)
        return model.forward_head(hidden, pre_logits=True).numpy()


def test_features_are_timms_before_the_classifier(models, folder, tiles):
    encoder = load_encoder(options(folder))
    features = encoder.encode(tiles)
    np.testing.assert_allclose(features, by_hand(models[CONVOLUTIONAL], tiles), rtol=1e-4, atol=1e-5)
    assert features.dtype == np.float32
    assert encoder.precision == "fp32"
    assert encoder.input_px is None


def test_a_model_of_one_input_size_sees_the_whole_tile_resized(models, folder, tiles):
    encoder = load_encoder(options(folder, TRANSFORMER))
    expected = by_hand(models[TRANSFORMER], tiles, size_px=encoder.input_px)
    np.testing.assert_allclose(encoder.encode(tiles), expected, rtol=1e-4, atol=1e-5)


def test_the_option_img_size_changes_the_input_size(folder, tiles):
    torch.manual_seed(0)
    save_file(timm.create_model(TRANSFORMER, img_size=64).state_dict(), folder / "vit64.safetensors")
    encoder = load_encoder(
        Features(encoder=TRANSFORMER, weights=folder / "vit64.safetensors", encoder_options={"img_size": 64})
    )
    assert encoder.input_px == (64, 64)
    assert encoder.encode(tiles).shape == (3, 64)


def test_a_tile_has_the_same_features_alone_and_in_a_batch(models, folder, tiles):
    encoder = load_encoder(options(folder))
    alone = np.concatenate([encoder.encode(tiles[i : i + 1]) for i in range(len(tiles))])
    np.testing.assert_allclose(alone, encoder.encode(tiles), rtol=1e-4, atol=1e-5)


def test_bf16_is_near_fp32_and_is_returned_as_float32(models, folder, tiles):
    full, reduced = (load_encoder(options(folder, precision=name)).encode(tiles) for name in ("fp32", "bf16"))
    assert reduced.dtype == np.float32
    assert not np.array_equal(full, reduced)
    np.testing.assert_allclose(reduced, full, rtol=0.1, atol=0.05 * np.abs(full).max())


def test_the_format_of_the_file_makes_no_difference(models, folder, tiles):
    first, second = (load_encoder(options(folder, suffix=suffix)) for suffix in (".safetensors", ".pth"))
    assert first.weights_sha256 == second.weights_sha256
    np.testing.assert_array_equal(first.encode(tiles), second.encode(tiles))


def test_the_hash_of_weights_sees_names_shapes_types_and_values():
    state = {"a": torch.arange(6.0), "b": torch.tensor(1)}
    assert weights_sha256(state) == weights_sha256(dict(reversed(state.items())))
    changed = [
        {"a": torch.arange(6.0), "c": torch.tensor(1)},
        {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1)},
        {"a": torch.arange(6.0).double(), "b": torch.tensor(1)},
        {"a": torch.arange(6.0), "b": torch.tensor(2)},
    ]
    assert len({weights_sha256(one) for one in [state, *changed]}) == 5


def test_a_layer_may_be_named(folder):
    model = timm.create_model(TRANSFORMER, mlp_layer=timm.layers.SwiGLUPacked, num_classes=0)
    save_file(model.state_dict(), folder / "packed.safetensors")
    named = Features(
        encoder=TRANSFORMER, weights=folder / "packed.safetensors", encoder_options={"mlp_layer": "SwiGLUPacked"}
    )
    assert load_encoder(named).weights_sha256 == weights_sha256(model.state_dict())


def test_weights_of_another_encoder(models, folder):
    config = Features(encoder=CONVOLUTIONAL, weights=folder / f"{TRANSFORMER}.safetensors")
    with pytest.raises(InputError, match=r"encoder test_resnet, found \d+ missing: conv1.*; \d+ unexpected: .*blocks"):
        load_encoder(config)


def test_weights_of_another_width(models, folder):
    state = models[CONVOLUTIONAL].state_dict()
    name = next(iter(state))
    save_file(state | {name: torch.zeros(1, 2, 3)}, folder / "wide.safetensors")
    with pytest.raises(InputError, match=rf"1 of another shape: {name} \(1, 2, 3\) instead of"):
        load_encoder(Features(encoder=CONVOLUTIONAL, weights=folder / "wide.safetensors"))


class Harmful:
    def __reduce__(self):
        return print, ("code in a weights file ran",)


def test_a_file_that_would_run_code_is_refused(folder, capsys):
    torch.save({"a": Harmful()}, folder / "harmful.pth")
    with pytest.raises(InputError, match=r"harmful\.pth: expected weights .*Save the model's state_dict"):
        load_encoder(Features(encoder=CONVOLUTIONAL, weights=folder / "harmful.pth"))
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_that_holds_no_weights(folder, suffix):
    path = folder / f"text{suffix}"
    path.write_text("these are no weights, " * 20)
    with pytest.raises(InputError, match=r"expected weights as \.safetensors or as a state dict"):
        load_encoder(Features(encoder=CONVOLUTIONAL, weights=path))


def test_a_file_of_something_else(folder):
    torch.save([1, 2], folder / "list.pth")
    with pytest.raises(InputError, match="expected a state dict, tensors by name, found list"):
        load_encoder(Features(encoder=CONVOLUTIONAL, weights=folder / "list.pth"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder": "resnet5"}, r"expected a model of timm .*found 'resnet5'. Similar names: .*resnet50"),
        ({"encoder": "test_resnet.none"}, "Invalid pretrained tag"),
        ({"encoder_options": {"colour": 1}}, "expected a model that timm can build, found: .*colour"),
        ({"encoder_options": {"num_classes": 5}}, r"expected none of .*, found \['num_classes'\]"),
        ({"weights": "none.pth"}, "none.pth: expected weights .* found nothing"),
    ],
)
def test_names_and_options_that_do_not_fit(models, folder, changed, message):
    content = {"encoder": CONVOLUTIONAL, "weights": str(folder / f"{CONVOLUTIONAL}.safetensors")} | changed
    with pytest.raises(InputError, match=message):
        load_encoder(Features(**content))


def test_no_weights_on_the_hub_is_never_a_random_encoder(monkeypatch):
    with pytest.raises(InputError, match="No pretrained weights exist for cspresnet50w"):
        load_encoder(Features(encoder="cspresnet50w"))


def test_a_hub_that_cannot_be_reached(monkeypatch, tmp_path):
    def unreachable(*arguments, **options):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(InputError, match=r"no route to the hub.*give features\.weights"):
        load_encoder(Features(encoder=CONVOLUTIONAL))


def test_an_encoder_that_does_not_pool(folder, tiles):
    config = options(folder, encoder_options={"global_pool": ""})
    with pytest.raises(InputError, match=r"expected one vector per tile, \(batch, d\), found \(3, \d+, \d+, \d+\)"):
        load_encoder(config).encode(tiles)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there(models, folder):
    with pytest.raises(InputError, match="expected a CUDA device, found none"):
        load_encoder(options(folder).model_copy(update={"device": "cuda"}))


def test_another_failure_of_torchvision_is_not_hidden(monkeypatch):
    def broken(name):
        raise RuntimeError("libjpeg.so.9 is missing")

    monkeypatch.setattr(torchvision_import.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="libjpeg"):
        torchvision_import.import_torchvision()


# What the model cards say: parameters in millions and features per tile.
CARDS = {
    "uni": (303, 1024),
    "uni2-h": (681, 1536),
    "virchow": (631, 2560),
    "virchow2": (631, 2560),
    "h-optimus-0": (1135, 1536),
    "gigapath": (1135, 1536),
    "phikon": (86, 768),
    "resnet50-layer3": (8.5, 1024),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_size_and_width_of_their_cards(name):
    """Built without memory for weights: torch's meta device computes shapes alone."""
    preset = PRESETS[name]
    config = Features(encoder=name, weights="unused")
    with torch.device("meta"):
        model = encoders._as_preset(encoders._build(config, preset), preset).eval()
        edge = preset.crop_px or preset.resize_px or 256
        features = model(torch.empty(2, 3, edge, edge))
    millions, width = CARDS[name]
    assert tuple(features.shape) == (2, width) == (2, preset.width)
    assert sum(weight.numel() for weight in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def saved(path, name, **options):
    torch.manual_seed(0)
    preset = PRESETS[name]
    built = {key: encoders._layer(key, value) for key, value in {**preset.options, **options}.items()}
    model = timm.create_model(preset.architecture, num_classes=0, **built).eval()
    save_file(model.state_dict(), path)
    return model


def loaded(path, name, **options):
    return load_encoder(Features(encoder=name, weights=path, device="cpu", encoder_options=options))


@pytest.mark.parametrize("name", ["virchow", "virchow2"])
def test_virchow_is_the_class_token_beside_the_mean_of_the_patches(tmp_path, tiles, name):
    model = saved(tmp_path / "w.safetensors", name, depth=1)
    features = loaded(tmp_path / "w.safetensors", name, depth=1).encode(tiles)
    images = torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255
    images = torch.nn.functional.interpolate(images, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in PRESETS[name].normalisation)
    with torch.inference_mode():
        tokens = model.forward_features((images - mean) / std)
    registers = 4 if name == "virchow2" else 0
    assert tokens.shape == (3, 1 + registers + 256, 1280)
    expected = torch.cat([tokens[:, 0], tokens[:, 1 + registers :].mean(dim=1)], dim=1)
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_gigapath_sees_the_centre_of_the_resized_tile(tmp_path):
    saved(tmp_path / "w.safetensors", "gigapath", depth=1)
    encoder = loaded(tmp_path / "w.safetensors", "gigapath", depth=1)
    tile = np.random.default_rng(0).integers(0, 256, size=(1, 256, 256, 3), dtype=np.uint8)
    framed = tile.copy()
    framed[:, :16] = framed[:, -16:] = 0
    framed[:, :, :16] = framed[:, :, -16:] = 0
    np.testing.assert_array_equal(encoder.encode(tile), encoder.encode(framed))
    framed[:, 16] = 0
    assert not np.array_equal(encoder.encode(tile), encoder.encode(framed))
    assert encoder.transform.startswith("resize 256 x 256 bicubic; centre 224; mean [0.485,")


def test_h_optimus_has_its_own_normalisation(tmp_path):
    saved(tmp_path / "w.safetensors", "h-optimus-0", depth=1)
    encoder = loaded(tmp_path / "w.safetensors", "h-optimus-0", depth=1)
    assert encoder.mean.flatten().tolist() == pytest.approx([0.707223, 0.578729, 0.703617])
    assert encoder.std.flatten().tolist() == pytest.approx([0.211883, 0.230117, 0.177517])


def test_the_cut_off_resnet_is_the_mean_of_its_third_layer(tmp_path, tiles):
    model = saved(tmp_path / "w.safetensors", "resnet50-layer3")
    features = loaded(tmp_path / "w.safetensors", "resnet50-layer3").encode(tiles)
    images = torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in PRESETS["resnet50-layer3"].normalisation)
    with torch.inference_mode():
        (third,) = model.forward_intermediates((images - mean) / std, indices=[3], intermediates_only=True)
    assert third.shape[1] == 1024
    np.testing.assert_allclose(features, third.mean(dim=(2, 3)).numpy(), rtol=1e-3, atol=1e-4)


def test_weights_of_another_preset(tmp_path):
    saved(tmp_path / "w.safetensors", "resnet50-layer3")
    with pytest.raises(InputError, match=r"expected the \d+ weights of features.encoder phikon, found"):
        loaded(tmp_path / "w.safetensors", "phikon")


def test_a_preset_without_local_weights_asks_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr(timm, "create_model", lambda name, **options: asked.append((name, options)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_encoder(Features(encoder="uni", device="cpu"))
    assert asked == [
        (
            "hf-hub:MahmoodLab/UNI",
            {"pretrained": True, "num_classes": 0, "init_values": 1e-5, "dynamic_img_size": True},
        )
    ]
