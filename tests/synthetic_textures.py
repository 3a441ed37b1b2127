"""Endless H&E textures of six morphologies: amounts of haematoxylin and eosin per pixel of 0.5 µm.

A texture is float32 (2, size, size): optical density of haematoxylin and of eosin. It wraps around, so it is
made once in a modest size and repeated as far as a slide reaches.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.spatial import cKDTree

LARGEST_PERIOD_PX = 1024
MORPHOLOGIES = ("stroma", "glands", "solid", "lymphocytes", "necrosis", "fat")
Image = NDArray[np.float32]


def make_textures(rng: np.random.Generator, *, edge_px: int) -> dict[str, Image]:
    """One texture per morphology, large enough to cut slides of up to `edge_px` from random places of it."""
    makers = (stroma, glands, solid, lymphocytes, necrosis, fat)
    period_px = min(LARGEST_PERIOD_PX, edge_px + edge_px % 2)
    more = edge_px - period_px // 2
    return {
        name: np.pad(make(rng, period_px), ((0, 0), (0, more), (0, more)), mode="wrap")
        for name, make in zip(MORPHOLOGIES, makers, strict=True)
    }


def stroma(rng: np.random.Generator, size_px: int) -> Image:
    """Pink wavy fibres with sparse spindle-shaped nuclei along them."""
    angle = np.pi / 4 * noise(rng, size_px, scale_px=90)
    fibres = _fibres(rng, angle)
    eosin = 0.42 + 0.13 * fibres + 0.06 * noise(rng, size_px, scale_px=40)
    centres = _scatter(rng, size_px, spacing_px=30, keep=0.5)
    nuclei = _nuclei(rng, centres, size_px, radius_px=9.0, spread=0.2, elongation=3.2, angle=angle)
    return _stack(0.07 + 0.03 * fibres + 0.62 * nuclei, eosin * (1 - 0.45 * nuclei))


def glands(rng: np.random.Generator, size_px: int) -> Image:
    """Low-grade tumour: glands with an open lumen, one regular row of basal nuclei, stroma between them."""
    centres = _scatter(rng, size_px, spacing_px=118, keep=1.0, jitter=0.22)
    distance, _ = _nearest(centres, size_px)
    distance = distance + 7 * noise(rng, size_px, scale_px=22)
    epithelium = _step((distance - 22) / 2.5) * _step((52 - distance) / 2.5)
    lumen = _step((22 - distance) / 2.5)
    places = _scatter(rng, size_px, spacing_px=12.5, keep=1.0)
    at = tuple((places.astype(int) % size_px).T)
    basal = places[(distance[at] > 35) & (distance[at] < 50)]
    nuclei = _nuclei(rng, basal, size_px, radius_px=6.2, spread=0.1, elongation=1.4)
    angle = np.pi / 4 * noise(rng, size_px, scale_px=90)
    between = 1 - epithelium - lumen
    spindles = _nuclei(
        rng, places[(distance[at] > 60) & (rng.random(len(places)) < 0.12)], size_px,
        radius_px=7.0, spread=0.2, elongation=3.0, angle=angle,
    )  # fmt: skip
    eosin = 0.36 * epithelium + (0.36 + 0.10 * _fibres(rng, angle)) * between + 0.02 * lumen
    nuclei = np.maximum(nuclei, spindles)
    return _stack(0.15 * epithelium + 0.06 * between + 0.62 * nuclei, eosin * (1 - 0.4 * nuclei))


def solid(rng: np.random.Generator, size_px: int) -> Image:
    """High-grade tumour: sheets of crowded, large, dark nuclei of uneven size in scant purple cytoplasm."""
    nests = _step((noise(rng, size_px, scale_px=45) + 1.3) / 0.15)
    places = _scatter(rng, size_px, spacing_px=19, keep=0.97)
    at = tuple((places.astype(int) % size_px).T)
    nuclei = _nuclei(rng, places[nests[at] > 0.5], size_px, radius_px=9.0, spread=0.3, elongation=1.3)
    grain = 1 + 0.22 * noise(rng, size_px, scale_px=2.0)
    septa = 0.40 + 0.06 * noise(rng, size_px, scale_px=3)
    haematoxylin = 0.24 * nests + 0.07 * (1 - nests) + 0.85 * nuclei * grain
    return _stack(haematoxylin, (0.30 * nests + septa * (1 - nests)) * (1 - 0.3 * nuclei))


def lymphocytes(rng: np.random.Generator, size_px: int) -> Image:
    """Small round dark nuclei side by side in pale matrix."""
    centres = _scatter(rng, size_px, spacing_px=15.5, keep=0.9)
    nuclei = _nuclei(rng, centres, size_px, radius_px=5.4, spread=0.1, elongation=1.08)
    eosin = 0.20 + 0.05 * noise(rng, size_px, scale_px=5)
    return _stack(0.10 + 0.95 * nuclei, eosin * (1 - 0.6 * nuclei))


def necrosis(rng: np.random.Generator, size_px: int) -> Image:
    """Pale granular eosin without cell borders, with ghosts and dust of nuclei."""
    clumps = noise(rng, size_px, scale_px=9)
    grains = noise(rng, size_px, scale_px=1.8)
    dust = _nuclei(rng, _scatter(rng, size_px, spacing_px=34, keep=0.55), size_px, radius_px=3.0, spread=0.45)
    ghosts = _nuclei(rng, _scatter(rng, size_px, spacing_px=26, keep=0.6), size_px, radius_px=8.0, spread=0.25)
    eosin = 0.34 + 0.08 * clumps + 0.06 * grains
    return _stack(0.05 + 0.02 * clumps + 0.5 * dust + 0.07 * ghosts, eosin)


def fat(rng: np.random.Generator, size_px: int) -> Image:
    """Empty round vacuoles between thin pink membranes, with a nucleus here and there on a membrane."""
    centres = _scatter(rng, size_px, spacing_px=92, keep=1.0, jitter=0.3)
    first, second = _nearest(centres, size_px)
    gap = second - first + 2.5 * noise(rng, size_px, scale_px=14)
    membrane = _step((5.5 - gap) / 1.2)
    places = _scatter(rng, size_px, spacing_px=24, keep=0.5)
    at = tuple((places.astype(int) % size_px).T)
    nuclei = _nuclei(rng, places[gap[at] < 5], size_px, radius_px=5.0, spread=0.2, elongation=2.2)
    return _stack(0.05 * membrane + 0.6 * nuclei, 0.015 + 0.36 * membrane)


def noise(rng: np.random.Generator, size_px: int, *, scale_px: float) -> Image:
    """Smooth Gaussian noise that wraps around: mean 0, variance 1, correlation length about `scale_px`."""
    frequency = fft.fftfreq(size_px)[:, None] ** 2 + fft.rfftfreq(size_px)[None, :] ** 2
    spectrum = fft.rfft2(rng.standard_normal((size_px, size_px), dtype=np.float32))
    smooth = fft.irfft2(spectrum * np.exp(-2 * (np.pi * scale_px) ** 2 * frequency), s=(size_px, size_px))
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)


def _fibres(rng: np.random.Generator, angle: Image, *, directions: int = 8) -> Image:
    """Noise that is stretched along the local `angle`, blended from a few straight directions."""
    size_px = len(angle)
    rows, columns = fft.fftfreq(size_px)[:, None], fft.rfftfreq(size_px)[None, :]
    spectrum = fft.rfft2(rng.standard_normal((size_px, size_px), dtype=np.float32))
    blended, total = np.zeros_like(angle), np.zeros_like(angle)
    for direction in np.arange(directions) * np.pi / directions:
        along = (columns * np.cos(direction) + rows * np.sin(direction)).astype(np.float32)
        across = (rows * np.cos(direction) - columns * np.sin(direction)).astype(np.float32)
        stretched = np.exp(np.float32(-2 * np.pi**2) * ((16 * along) ** 2 + (1.6 * across) ** 2))
        straight = fft.irfft2(spectrum * stretched, s=(size_px, size_px))
        weight = np.exp(6 * (np.cos(2 * (angle - direction)) - 1)).astype(np.float32)
        blended += weight * (straight / straight.std()).astype(np.float32)
        total += weight
    return blended / total


def _scatter(
    rng: np.random.Generator, size_px: int, *, spacing_px: float, keep: float, jitter: float = 0.35
) -> NDArray[np.float64]:
    """Points (n, 2) on a shaken hexagonal lattice; a fraction `keep` of them stays."""
    count = max(2, 2 * round(size_px / spacing_px / 2))
    rows, columns = np.mgrid[:count, :count].astype(float)
    columns += 0.5 * (rows % 2)
    points = np.stack([rows, columns], axis=-1).reshape(-1, 2)  # (count * count, 2)
    points += rng.uniform(-jitter, jitter, points.shape)
    return (points * (size_px / count) % size_px)[rng.random(len(points)) < keep]


def _nuclei(
    rng: np.random.Generator,
    centres: NDArray[np.float64],
    size_px: int,
    *,
    radius_px: float,
    spread: float,
    elongation: float = 1.2,
    angle: Image | None = None,
) -> Image:
    """Ellipses with a soft edge and a darker rim, values 0 to about 1; where two overlap the darker one wins."""
    count = len(centres)
    radius = radius_px * np.exp(spread * rng.standard_normal(count))
    stretch = np.sqrt(elongation * np.exp(0.12 * rng.standard_normal(count)))
    turn = rng.uniform(0, np.pi, count)
    if angle is not None:
        turn = angle[tuple((centres.astype(int) % size_px).T)] + 0.2 * rng.standard_normal(count)
    darkness = rng.uniform(0.7, 1.0, count)
    reach = int(np.ceil(radius_px * np.exp(2 * spread) * np.sqrt(elongation) * 1.2)) + 2
    offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, 1, -1)  # (2, 1, pixels of a stamp)
    pixels = np.floor(centres).T[:, :, None] + offsets  # (2, nuclei, pixels of a stamp)
    down, right = (pixels - centres.T[:, :, None]).astype(np.float32)
    cosine, sine = (part[:, None].astype(np.float32) for part in (np.cos(turn), np.sin(turn)))
    along = (right * cosine + down * sine) / (radius * stretch)[:, None]
    across = (down * cosine - right * sine) / (radius / stretch)[:, None]
    distance = np.sqrt(along**2 + across**2)
    value = darkness[:, None] * _step((1 - distance) * radius[:, None] / 1.1) * (0.78 + 0.22 * np.minimum(distance, 1))
    canvas = np.zeros((size_px, size_px), dtype=np.float32)
    rows, columns = pixels.astype(np.int64) % size_px
    np.maximum.at(canvas, (rows, columns), value.astype(np.float32))
    return canvas


def _nearest(centres: NDArray[np.float64], size_px: int) -> tuple[Image, Image]:
    """Distance of each pixel to the nearest and to the second nearest centre, on the torus."""
    half = size_px // 2
    grid = np.stack(np.mgrid[:half, :half], axis=-1).reshape(-1, 2) * 2.0 + 0.5  # (half * half, 2)
    found, _ = cKDTree(centres, boxsize=size_px).query(grid, k=2)
    both = found.reshape(half, half, 2).astype(np.float32)
    first, second = (ndimage.zoom(both[..., rank], 2, order=1, mode="grid-wrap", grid_mode=True) for rank in (0, 1))
    return first, second


def _step(value: NDArray[np.floating]) -> Image:  # type: ignore[type-arg]
    return (1 / (1 + np.exp(-np.clip(4 * value, -30, 30)))).astype(np.float32)


def _stack(haematoxylin: NDArray[np.float32], eosin: NDArray[np.float32]) -> Image:
    return np.maximum(np.stack([haematoxylin, eosin]), 0).astype(np.float32)
