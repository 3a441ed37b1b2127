"""The sheet of slides from a folder of downloads."""

import logging
import os
from pathlib import Path
from typing import Literal

import pandas as pd

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets, tables
from tta_pipeline.io.gdc_slides import check_download, find_slides

log = logging.getLogger(__name__)


def run(
    *,
    folder: Path,
    out: Path,
    samples: Path | None = None,
    manifest: Path | None = None,
    types: list[Literal["DX", "TS", "MS", "BS"]] = ["DX"],  # noqa: B006 (read only; the command line reads the type)
    md5: bool = False,
) -> None:
    """Write a sheet of the slides below a folder, to be looked at and completed by hand.

    Parameters
    ----------
    folder
        Slides named by TCGA barcodes, flat or as GDC's client lays them out, one folder per file.
    out
        TSV of slide_id, patient_id, path and mpp (empty: read from the header). Paths are relative to its folder where
        they lie below it, else absolute. It is not overwritten.
    samples
        GDC's sample sheet: only files that it names count, and it says whose they are.
    manifest
        GDC's manifest, by which the download is checked: every file there, as large as it should be.
    types
        Slides of these types, by their barcode; those that name none are kept.
    md5
        Whether to compare the files' md5 with the manifest's as well, which reads every byte.

    Raises
    ------
    InputError
        No slides are found, it is not known whose one is, the download is not whole, or the sheet exists.
    """
    if out.exists():
        raise InputError(
            f"{out}: expected no file, for a sheet is completed by hand; found one. Move it, or name another."
        )
    found = find_slides(folder, samples=samples)
    if manifest is not None:
        problems = check_download(found, manifest=manifest, md5=md5)
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise InputError(
                f"{manifest}: expected a whole download below {folder}, found:\n{listed}\nDownload them again."
            )
    kept = [slide for slide in found if slide.type in ("", *types)]
    if not kept:
        others = sheets.listed(sorted({slide.type for slide in found}))
        raise InputError(
            f"{folder}: expected slides of type {', '.join(types)}, found {others}. Name them with --types."
        )
    patients = [slide.patient_id for slide in kept]
    rows = {
        "slide_id": [slide.slide_id for slide in kept],
        "patient_id": patients,
        "path": [_path(slide.path, out.parent) for slide in kept],
        "mpp": [float("nan")] * len(kept),
    }
    tables.write_table(out, pd.DataFrame(rows), columns=tables.SHEET)
    left = len(found) - len(kept)
    log.info("%s: %d slides of %d patients; %d of other types left out", out, len(kept), len(set(patients)), left)


def _path(slide: Path, folder: Path) -> str:
    """Relative where the slide lies below the folder, so that both can be moved together."""
    absolute, base = Path(os.path.abspath(slide)), Path(os.path.abspath(folder))  # noqa: PTH100 (keeps symbolic links)
    return f"./{absolute.relative_to(base)}" if absolute.is_relative_to(base) else str(absolute)
