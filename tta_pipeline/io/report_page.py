"""The report's figures and its one HTML page, written whole."""

import base64
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import jinja2
import numpy as np

from tta_pipeline.io.drawing import DAYS_PER_YEAR
from tta_pipeline.io.whole_files import write_whole


def write_pictures(folder: Path, pictures: Mapping[str, bytes]) -> None:
    """Write each PNG as `<name>.png`."""
    for name, png in pictures.items():
        write_whole(folder / f"{name}.png", png)


def write_page(path: Path, content: Mapping[str, object]) -> None:
    """Write the HTML page: one file without any outer resource, from the template beside this module."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=_number,
        c=lambda value: _number(value, digits=3),
        p=_p_value,
        years=lambda days: _number(days / DAYS_PER_YEAR, digits=1),
        base64=lambda png: base64.b64encode(png).decode("ascii"),
    )
    template = resources.files("tta_pipeline.io").joinpath("report.html.jinja").read_text(encoding="utf-8")
    write_whole(path, environment.from_string(template).render(content).encode("utf-8"))


def _number(value: float, digits: int = 0) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:,.{digits}f}".replace("-", "−")  # noqa: RUF001


def _p_value(value: float) -> str:
    if np.isnan(value):
        return "–"  # noqa: RUF001
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
