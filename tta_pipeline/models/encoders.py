"""Encoders of tiles: any timm model without its classifier, with weights from the hub or from a local file."""

import difflib
import hashlib
import importlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline.config import Features
from tta_pipeline.errors import InputError
from tta_pipeline.models.device import device_named
from tta_pipeline.models.presets import PRESETS, Preset
from tta_pipeline.models.torchvision_import import import_torchvision

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_RESERVED = {"pretrained", "num_classes", "checkpoint_path", "pretrained_cfg"}
_NAMED = 5


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder, ready for tiles.

    mean, std: (1, 3, 1, 1), of RGB in 0 to 1, from the model's own data config.
    input_px: (height, width) to which tiles are resized, or None where the model takes tiles of any size.
    crop_px: edge of the centre that is kept after that, or None.
    weights_sha256: hash of names, types, shapes and values of all parameters and buffers.
    """

    name: str
    model: nn.Module
    device: torch.device
    precision: str
    mean: Tensor
    std: Tensor
    input_px: tuple[int, int] | None
    crop_px: int | None
    interpolation: str
    weights_sha256: str

    @property
    def transform(self) -> str:
        """What is done to a tile before the model sees it, in words that a reader of the features can follow."""
        steps = (
            [] if self.input_px is None else [f"resize {self.input_px[1]} x {self.input_px[0]} {self.interpolation}"]
        )
        steps += [] if self.crop_px is None else [f"centre {self.crop_px}"]
        mean, std = ([round(value, 6) for value in values.flatten().tolist()] for values in (self.mean, self.std))
        return "; ".join([*steps, f"mean {mean}", f"std {std}"])

    def allocate(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Memory for tiles from which the device copies without waiting."""
        return np.asarray(torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda").numpy())

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of tiles: those of `submit`, waited for."""
        return self.submit(tiles).result()

    @torch.inference_mode()
    def submit(self, tiles: NDArray[np.uint8]) -> "Submitted":
        """Begin to compute the features of tiles; a GPU works on while the caller does other things.

        A model that is bound to one input size sees the whole tile resized to it (antialiased, in the model's own
        interpolation); no centre is cropped, whatever its crop_pct says, unless a preset asks for it.

        Parameters
        ----------
        tiles
            uint8 (batch, height, width, 3), RGB; not to be changed before the result is there.

        Raises
        ------
        InputError
            The model does not give one vector per tile.
        """
        # (batch, 3, height, width), channels last
        pixels = torch.from_numpy(tiles).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        images = pixels.float() / 255
        if self.input_px is not None and tuple(images.shape[2:]) != self.input_px:
            images = F.interpolate(images, self.input_px, mode=self.interpolation, antialias=True).clamp(0, 1)
        if self.crop_px is not None:
            top, left = ((edge - self.crop_px) // 2 for edge in images.shape[2:])
            images = images[:, :, top : top + self.crop_px, left : left + self.crop_px]
        images = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        dtype = _DTYPES[self.precision]
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not torch.float32):
            features = self.model(images)
        if not isinstance(features, Tensor) or features.ndim != 2:
            found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise InputError(
                f"features.encoder {self.name}: expected one vector per tile, (batch, d), found {found}. "
                "Choose a model that pools, or set global_pool in features.encoder_options."
            )
        return Submitted.copy_of(features.float(), tiles=tiles)


@dataclass(frozen=True)
class Submitted:
    """Features on their way from the device. tiles: kept until the device has read them."""

    _features: Tensor
    _tiles: NDArray[np.uint8]
    _copied: torch.cuda.Event | None

    @classmethod
    def copy_of(cls, features: Tensor, *, tiles: NDArray[np.uint8]) -> "Submitted":
        """Begin to copy features (batch, d) from their device."""
        if features.device.type != "cuda":
            return cls(features.cpu(), tiles, None)
        on_host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
        on_host.copy_(features, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        return cls(on_host, tiles, copied)

    def result(self) -> NDArray[np.float32]:
        """Float32 (batch, d). Not checked: may hold NaN or infinity where a reduced precision overflows."""
        if self._copied is not None:
            self._copied.synchronize()
        return np.asarray(self._features.numpy())


def load_encoder(config: Features, *, job: int = 0) -> Encoder:
    """Build the encoder of a study, load its weights and move it to its device; see `device_named` for `job`.

    Raises
    ------
    InputError
        The name is unknown, options or weights do not fit, weights cannot be fetched, or there is no such device.
    """
    device = device_named(config.device, key="features.device", job=job)
    preset = PRESETS.get(config.encoder)
    model = _build(config, preset)
    if config.weights is not None:
        _load_weights(model, config.weights, encoder=config.encoder)
    checksum = weights_sha256(model.state_dict())
    if preset is None:
        data = importlib.import_module("timm.data").resolve_data_config(model=model)
        normalisation, interpolation = (data["mean"], data["std"]), data["interpolation"]
        input_px = _input_px(model, data["input_size"], options=config.encoder_options)
    else:
        normalisation, interpolation = preset.normalisation, preset.interpolation
        input_px = None if preset.resize_px is None else (preset.resize_px, preset.resize_px)
        model = _as_preset(model, preset)
    model = model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    mean, std = (torch.tensor(values, device=device).reshape(1, 3, 1, 1) for values in normalisation)
    return Encoder(
        name=config.encoder,
        model=model,
        device=device,
        precision=_precision(config.precision, device=device),
        mean=mean,
        std=std,
        input_px=input_px,
        crop_px=None if preset is None else preset.crop_px,
        interpolation="bilinear" if interpolation == "bilinear" else "bicubic",
        weights_sha256=checksum,
    )


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """Hash of names, types, shapes and values of a state dict; the order of its entries does not count."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # (bytes,)
    return digest.hexdigest()


class _ClassAndMean(nn.Module):
    """The class token and the mean of the patch tokens of a vision transformer; registers are left out."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Images (batch, 3, height, width) to features (batch, 2 * dim)."""
        tokens = self.model(images)  # (batch, token, dim)
        return torch.cat([tokens[:, 0], tokens[:, self.model.num_prefix_tokens :].mean(dim=1)], dim=1)


def _as_preset(model: Any, preset: Preset) -> Any:
    if preset.last_layer is not None:
        layers = [name for name, _ in model.named_children()]
        for name in layers[layers.index(preset.last_layer) + 1 : layers.index("global_pool")]:
            setattr(model, name, nn.Identity())
    return _ClassAndMean(model) if preset.pooling == "class+mean" else model


def _build(config: Features, preset: Preset | None) -> Any:
    import_torchvision()
    timm = importlib.import_module("timm")
    _check_name(config, timm=timm)
    name, options = config.encoder, dict(config.encoder_options)
    if preset is not None:
        name = preset.hub if config.weights is None else preset.architecture
        options = {**preset.options, **options}
    options = {key: _layer(key, value) for key, value in options.items()}
    try:
        return timm.create_model(name, pretrained=config.weights is None, num_classes=0, **options)
    except OSError as error:
        raise InputError(
            f"features.encoder {config.encoder}: expected it on the hub or in the hub's cache, found: {error} "
            "Connect to the internet, log in to the hub if the model is gated, or give features.weights."
        ) from error
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"features.encoder {config.encoder} with encoder_options {config.encoder_options}: expected a model that "
            f"timm can build{' with pretrained weights' if config.weights is None else ''}, found: {error}"
        ) from error


def _check_name(config: Features, *, timm: Any) -> None:
    reserved = sorted(_RESERVED & set(config.encoder_options))
    if reserved:
        raise InputError(f"features.encoder_options: expected none of {sorted(_RESERVED)}, found {reserved}.")
    if config.encoder in PRESETS or ":" in config.encoder or timm.is_model(config.encoder):
        return
    close = difflib.get_close_matches(config.encoder.split(".")[0].lower(), [*PRESETS, *timm.list_models()], n=_NAMED)
    raise InputError(
        f"features.encoder: expected a model of timm {timm.__version__}, hf-hub:owner/name or a preset, found "
        f"{config.encoder!r}. Similar names: {', '.join(close) or 'none'}."
    )


def _input_px(model: Any, own: tuple[int, int, int], *, options: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) that the model is bound to: the option img_size, or its own if that is fixed."""
    if "img_size" in options:
        given = options["img_size"]
        return (int(given), int(given)) if isinstance(given, int) else (int(given[0]), int(given[1]))
    return own[1:] if model.pretrained_cfg.get("fixed_input_size", False) else None


def _layer(name: str, value: Any) -> Any:
    """An option that stands for a class of timm.layers, such as mlp_layer: SwiGLUPacked; others stay as they are."""
    if not (name.endswith("_layer") and isinstance(value, str)):
        return value
    return getattr(importlib.import_module("timm.layers"), value, value)


def _load_weights(model: Any, path: Path, *, encoder: str) -> None:
    """Load local weights; nothing but the classifier's may be left over, and nothing may be missing."""
    state = _read_state(path)
    classifier = model.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{name}." for name in ((classifier,) if isinstance(classifier, str) else classifier))
    expected = model.state_dict()
    state = {name: tensor for name, tensor in state.items() if name in expected or not name.startswith(heads)}
    problems = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
            for name in expected
            if name in state and state[name].shape != expected[name].shape
        ],
    }
    if any(problems.values()):
        described = "; ".join(
            f"{len(names)} {what}: {', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"
            for what, names in problems.items()
            if names
        )
        raise InputError(
            f"{path}: expected the {len(expected)} weights of features.encoder {encoder}, found {described}. "
            "Give the weights of this encoder, or the encoder (and encoder_options) of these weights."
        )
    model.load_state_dict(state, strict=True)


def _read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name; a torch file may hold them under "state_dict" or "model", and never runs code."""
    if not path.is_file():
        raise InputError(f"{path}: expected weights (features.weights), found nothing.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, EOFError, LookupError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path}: expected weights as .safetensors or as a state dict saved by torch.save, found a file that "
            f"cannot be read as such ({type(error).__name__}: {str(error).splitlines()[0]}). Save the model's "
            "state_dict() and nothing else."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path}: expected a state dict, tensors by name, found {type(content).__name__}.")
    return dict(content)


def _precision(name: str, *, device: torch.device) -> str:
    if name != "auto":
        return name
    return "bf16" if device.type == "cuda" else "fp32"
