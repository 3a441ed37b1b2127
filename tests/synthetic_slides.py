"""H&E-like slides: morphologies mixed on an irregular piece of tissue, stained, and written as Aperio SVS files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as PillowImage
from scipy import ndimage

from tests.synthetic_textures import Image, noise

RGB = NDArray[np.uint8]
WHITE = 243.0
# Unit optical densities of red, green, blue: the reference stains of Macenko et al., ISBI 2009, as commonly used.
HAEMATOXYLIN = np.array([0.5626, 0.7201, 0.4062])
EOSIN = np.array([0.2159, 0.8012, 0.5581])
_COARSE = 16


@dataclass(frozen=True)
class Stain:
    """Optical density of red, green, blue per unit of haematoxylin and of eosin: float64 (2, 3)."""

    vectors: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Stain":
        """The stain of one laboratory: colours and strengths vary."""
        vectors = np.stack([HAEMATOXYLIN, EOSIN]) + rng.normal(0, 0.025, (2, 3))
        strength = rng.uniform([[1.0], [0.85]], [[1.25], [1.15]])
        return cls(strength * vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def make_slide(
    rng: np.random.Generator,
    textures: Mapping[str, Image],
    *,
    fractions: Mapping[str, float],
    stain: Stain,
    height_px: int,
    width_px: int,
) -> RGB:
    """RGB image (height, width, 3) at 0.5 µm per pixel: one piece of tissue on a white background.

    `fractions` names morphologies of `textures` with the parts of the tissue area that they take; they sum to 1.
    """
    shape = (height_px, width_px)
    tissue = _outline(rng, shape)
    amounts = np.zeros((2, *shape), dtype=np.float32)
    for name, weight in _regions(rng, shape, fractions).items():
        amounts += (weight * tissue) * _cut(rng, textures[name], shape)
    return _stained(rng, amounts, stain)


def make_blank(rng: np.random.Generator, *, height_px: int, width_px: int) -> RGB:
    """RGB image (height, width, 3) of glass without tissue."""
    return _stained(rng, np.zeros((2, height_px, width_px), dtype=np.float32), Stain.draw(rng))


def enlarge(image: RGB, *, factor: int) -> RGB:
    """The same field with `factor` times as many pixels per edge, as a stronger objective gives."""
    height, width, _ = image.shape
    size = (width * factor, height * factor)
    return np.asarray(PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BICUBIC))


def write_svs(path: Path, image: RGB, *, mpp: float | None, tile_px: int = 256, quality: int = 85) -> None:
    """Write an Aperio SVS: tiled JPEG levels at 1, 1/4, 1/16, and a thumbnail as second page.

    Parameters
    ----------
    image
        uint8 (height, width, 3), level 0.
    mpp
        Micrometres per pixel for the header, with the objective power that goes with it (20 at 0.5);
        None leaves both out, as in some TCGA slides.
    """
    height, width, _ = image.shape
    scale = "" if mpp is None else f"|AppMag = {10 / mpp:g}|MPP = {mpp:.4f}"
    head = f"Aperio Image Library v12.0.0\r\n{width}x{height} [0,0 {width}x{height}] ({tile_px}x{tile_px})"
    jpeg = {"compression": "jpeg", "compressionargs": {"level": quality}, "metadata": None, "software": False}
    tiled = {**jpeg, "photometric": "rgb", "tile": (tile_px, tile_px)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        file.write(image, description=f"{head} JPEG/RGB Q={quality}{scale}", **tiled)
        thumbnail = _reduced(image, max(1, max(height, width) // 512))
        note = f"{head} -> {thumbnail.shape[1]}x{thumbnail.shape[0]} - {scale}"
        file.write(thumbnail, description=note, photometric="rgb", rowsperstrip=thumbnail.shape[0], **jpeg)
        for factor in (4, 16):
            if factor == 4 or min(height, width) // factor >= 128:
                level = _reduced(image, factor)
                note = f"{head} -> {level.shape[1]}x{level.shape[0]} JPEG/RGB Q={quality}"
                file.write(level, description=note, **tiled)


def _outline(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """1 in the tissue, 0 on the glass, a soft edge between: a shaken ellipse with a few clefts."""
    small = (shape[0] // _COARSE + 1, shape[1] // _COARSE + 1)
    down, right = (np.linspace(-1, 1, count) for count in small)
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(0.85, 1.15)
    along = right[None, :] * np.cos(turn) + down[:, None] * np.sin(turn)
    across = down[:, None] * np.cos(turn) - right[None, :] * np.sin(turn)
    distance = np.hypot(along * stretch, across / stretch)
    field = (0.80 - distance) + 0.09 * _field(rng, small, scale=9) + 0.02 * _field(rng, small, scale=2.5)
    frame = np.minimum(1 - np.abs(down)[:, None], 1 - np.abs(right)[None, :])
    return _sharpen(np.minimum(field, 2 * (frame - 0.03)), shape, width=0.004)


def _regions(rng: np.random.Generator, shape: tuple[int, int], fractions: Mapping[str, float]) -> dict[str, Image]:
    """Weight (height, width) of each morphology; they sum to 1 everywhere, and in the mean follow `fractions`.

    Each morphology in turn takes its part of what is left, where a smooth field of its own is highest.
    """
    small = (shape[0] // _COARSE + 1, shape[1] // _COARSE + 1)
    left, remaining = np.ones(shape, dtype=np.float32), 1.0
    free = np.ones(small, dtype=bool)
    weights = {}
    for name, fraction in fractions.items():
        part = min(1.0, fraction / remaining) if remaining > 1e-6 else 1.0
        if part > 1 - 1e-6 or free.sum() < 2:
            weights[name] = left
            return weights
        field = _field(rng, small, scale=11) + 0.15 * _field(rng, small, scale=2)
        threshold = np.quantile(field[free], 1 - part)
        taken = _sharpen(field - threshold, shape, width=0.05)
        weights[name] = left * taken
        left = left * (1 - taken)
        free &= field <= threshold
        remaining -= fraction
    weights[name] += left
    return weights


def _field(rng: np.random.Generator, shape: tuple[int, int], *, scale: float) -> Image:
    return noise(rng, max(shape) + 8 * round(scale), scale_px=scale)[: shape[0], : shape[1]]


def _sharpen(field: NDArray[np.floating], shape: tuple[int, int], *, width: float) -> Image:  # type: ignore[type-arg]
    """A coarse field enlarged to `shape` and stepped from 0 to 1 where it passes zero."""
    size = (shape[1], shape[0])
    coarse = PillowImage.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    fine = np.asarray(coarse.resize(size, PillowImage.Resampling.BICUBIC))
    return np.clip(0.5 + fine / (4 * width), 0, 1).astype(np.float32)


def _cut(rng: np.random.Generator, texture: Image, shape: tuple[int, int]) -> Image:
    """A view (2, height, width) of a random place of a texture, mirrored and turned at random.

    Raises
    ------
    ValueError
        The texture is smaller than the slide.
    """
    room = texture.shape[1] - max(shape)
    if room < 0:
        raise ValueError(f"expected textures of at least {max(shape)} pixels, found {texture.shape[1]}")
    turned = texture.transpose(0, 2, 1) if rng.random() < 0.5 else texture  # (2, size, size)
    mirrored = turned[:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    top, left = rng.integers(room + 1, size=2)
    return mirrored[:, top : top + shape[0], left : left + shape[1]]


def _stained(rng: np.random.Generator, amounts: Image, stain: Stain) -> RGB:
    """Beer-Lambert: intensity = white * 10^-(haematoxylin, eosin) . vectors, with a little noise of the camera."""
    grain = _tiled_noise(rng, amounts.shape[1:])
    channels = []
    for haematoxylin, eosin in stain.vectors.T.astype(np.float32):
        density = amounts[0] * haematoxylin + amounts[1] * eosin
        channels.append(np.float32(WHITE) * np.exp(-np.float32(np.log(10)) * density) + grain)
    return np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)


def _tiled_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Image:
    block = ndimage.gaussian_filter(rng.standard_normal((256, 256), dtype=np.float32), 0.7, mode="wrap")
    repeats = (shape[0] // 256 + 1, shape[1] // 256 + 1)
    return 3.0 * np.tile(block, repeats)[: shape[0], : shape[1]]


def _reduced(image: RGB, factor: int) -> RGB:
    return np.asarray(PillowImage.fromarray(image).reduce(factor))
