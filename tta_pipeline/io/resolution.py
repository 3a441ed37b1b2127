"""Micrometres per pixel of a slide, and where they were found."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tta_pipeline.errors import SlideError

MPP_LIMITS = (0.05, 20.0)
MAX_ANISOTROPY = 0.01
_HEADER_MPP = (("openslide.mpp-x", "openslide.mpp-y"), ("aperio.MPP", "aperio.MPP"))
_TIFF_RESOLUTION = ("tiff.XResolution", "tiff.YResolution")
_UM_PER_UNIT = {"centimeter": 10_000.0, "inch": 25_400.0}
_OBJECTIVE_POWER = ("openslide.objective-power", "aperio.AppMag")
_UM_AT_1X = 10.0  # micrometres per pixel of a scanner's camera at 1x; 0.25 at 40x


def resolve_mpp(
    properties: Mapping[str, Any], *, given: float | None, slide_id: str, path: Path, from_objective: bool = False
) -> tuple[float, str]:
    """Micrometres per level-0 pixel and where they were found.

    In this order: the sheet, openslide.mpp-x and -y, aperio.MPP, the resolution that the TIFF names where it lies
    within the limits (many writers put 72 dots per inch for no reason), and the objective power where that is allowed.
    """
    if given is not None and not math.isnan(given):
        return _checked(given, given, source="column mpp of the slides sheet", slide_id=slide_id), "sheet"
    for x_name, y_name in _HEADER_MPP:
        if x_name in properties and y_name in properties:
            x, y = (_number(properties[name], source=name, slide_id=slide_id) for name in (x_name, y_name))
            return _checked(x, y, source=f"{x_name} in the header of {path}", slide_id=slide_id), x_name
    resolution = _tiff_resolution(properties, slide_id=slide_id)
    if resolution is not None:
        source = f"{_TIFF_RESOLUTION[0]} in the header of {path}"
        return _checked(*resolution, source=source, slide_id=slide_id), _TIFF_RESOLUTION[0]
    power = next((name for name in _OBJECTIVE_POWER if name in properties), None)
    if power is not None and from_objective:
        value = _UM_AT_1X / max(_number(properties[power], source=power, slide_id=slide_id), 1e-9)
        return _checked(value, value, source=f"{power} in the header of {path}", slide_id=slide_id), power
    known = f"only an objective power of {properties[power]}" if power else "none"
    raise SlideError(
        f"{slide_id}: expected micrometres per pixel ({', '.join(names[0] for names in _HEADER_MPP)}, or the "
        f"resolution of a TIFF), found {known} in the header of {path}. Give it in column mpp of the slides sheet"
        f"{', or set tiles.mpp_from_objective' if power else ''}."
    )


def _tiff_resolution(properties: Mapping[str, Any], *, slide_id: str) -> tuple[float, float] | None:
    um = _UM_PER_UNIT.get(properties.get("tiff.ResolutionUnit", ""))
    if um is None or any(name not in properties for name in _TIFF_RESOLUTION):
        return None
    per_unit = [_number(properties[name], source=name, slide_id=slide_id) for name in _TIFF_RESOLUTION]
    if not all(MPP_LIMITS[0] <= um / max(number, 1e-9) <= MPP_LIMITS[1] for number in per_unit):
        return None
    return um / per_unit[0], um / per_unit[1]


def _number(text: str, *, source: str, slide_id: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise SlideError(
            f"{slide_id}: expected a number in header field {source}, found {text!r}. "
            "Give micrometres per pixel in column mpp of the slides sheet."
        ) from error


def _checked(x: float, y: float, *, source: str, slide_id: str) -> float:
    lower, upper = MPP_LIMITS
    if not (lower <= x <= upper and lower <= y <= upper):
        raise SlideError(
            f"{slide_id}: expected {lower} to {upper} micrometres per pixel, found {x:g} x {y:g} in {source}. "
            "Give the true value in column mpp of the slides sheet."
        )
    if abs(x / y - 1) > MAX_ANISOTROPY:
        raise SlideError(
            f"{slide_id}: expected square pixels, found {x:g} x {y:g} micrometres in {source}. "
            "If the header is wrong, give the true value in column mpp of the slides sheet."
        )
    return math.sqrt(x * y)
