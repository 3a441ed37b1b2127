"""The sheet of overlays: which slides it shows, in which order, and what it does without any."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tta_pipeline.io import tables
from tta_pipeline.io.overlay import write_overlay
from tta_pipeline.io.slide_figures import contact_sheet


def quality(folder, rows):
    """slide_id -> (kept, ink, out_of_focus), each with an overlay."""
    table = []
    for slide_id, (kept, ink, blurred) in rows.items():
        Image.new("RGB", (60, 40), "pink").save(folder / f"{slide_id}.png")
        table.append((slide_id, 0.5, "sheet", 1.0, 900.0, kept, 0, ink, blurred, 0, str(folder / f"{slide_id}.png")))
    return pd.DataFrame(table, columns=list(tables.QUALITY))


@pytest.fixture
def titles(monkeypatch):
    """Titles of the pictures on the sheet, in their order."""
    found = []
    savefig = Figure.savefig

    def watched(figure, *arguments, **options):
        found.extend(axes.get_title(loc="left").split("\n") for axes in figure.axes if axes.get_title(loc="left"))
        return savefig(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", watched)
    return found


def test_the_slides_that_lost_most_come_first(tmp_path, titles):
    rows = {"clean": (90, 0, 0), "inked": (50, 50, 0), "blurred": (10, 5, 85), "small": (3, 0, 0)}
    contact_sheet(quality(tmp_path, rows))
    assert titles == [
        ["blurred", "10 tiles, 90% lost"],
        ["inked", "50 tiles, 50% lost"],
        ["small", "3 tiles, 0% lost"],
        ["clean", "90 tiles, 0% lost"],
    ]


def test_at_most_twelve_slides_and_an_overlay_that_has_gone_leaves_its_place_empty(tmp_path, titles):
    table = quality(tmp_path, {f"s{number:02d}": (100 - number, number, 0) for number in range(30)})
    (tmp_path / "s29.png").unlink()
    picture = Image.open(io.BytesIO(contact_sheet(table)))
    assert [title[0] for title in titles] == [f"s{number}" for number in range(29, 17, -1)]
    assert picture.width > 500


def test_without_overlays_the_sheet_says_so(tmp_path, titles):
    for table in (tables.empty(tables.QUALITY), quality(tmp_path, {"s": (1, 0, 0)}).assign(overlay="")):
        assert Image.open(io.BytesIO(contact_sheet(table))).height < 200
    assert titles == []


def test_an_overlay_shows_each_kind_of_tile_in_its_colour_and_its_legend(tmp_path):
    corners = {
        name: np.array([[100 * place, 0]], dtype=np.int32)
        for place, name in enumerate(["kept", "little tissue", "ink", "out of focus", "not drawn"])
    }
    thumbnail = np.full((20, 60, 3), 255, dtype=np.uint8)
    write_overlay(
        tmp_path / "o.png",
        thumbnail,
        outline=np.zeros((20, 60), dtype=bool),
        tiles=corners,
        edge_level0_px=80.0,
        downsample=10.0,
    )
    picture = np.asarray(Image.open(tmp_path / "o.png"))
    colours = [tuple(picture[0, 10 * place + 4]) for place in range(5)]
    assert len(set(colours)) == 5
    assert (255, 255, 255) not in colours
    struck = [(picture[1:7, 10 * place + 1 : 10 * place + 8] < 255).any() for place in range(5)]
    assert struck == [False, True, True, True, True]
    legend = picture[20:].reshape(-1, 3)
    assert all((legend == colour).all(axis=1).any() for colour in colours)
