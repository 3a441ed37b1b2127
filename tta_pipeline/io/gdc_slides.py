"""Slides in a folder, as they were downloaded from GDC: whose they are, and whether they are whole."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets
from tta_pipeline.io.cohort import slide_type
from tta_pipeline.io.samples import patient_of

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu", ".dcm")
_MANIFEST = ("id", "filename", "md5", "size")
_SAMPLE_SHEET = ("File ID", "File Name", "Case ID")
_CHUNK = 16 << 20


@dataclass(frozen=True)
class FoundSlide:
    """A slide's file and whose it is. type: DX, TS, MS, BS, or "" where its name does not say it."""

    slide_id: str
    patient_id: str
    path: Path
    type: str


def find_slides(folder: Path, *, samples: Path | None) -> list[FoundSlide]:
    """Slides below a folder, sorted by name: flat, or each in a folder named by its GDC identifier.

    Parameters
    ----------
    samples
        GDC's sample sheet, which says whose a slide is; without one, its name must begin with a TCGA barcode.

    Raises
    ------
    InputError
        No slide is found, two have one name, or it is not known whose one is.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of slides, found none.")
    paths = sorted(
        (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()),
        key=lambda path: (path.name, str(path)),
    )
    twice = sheets.first_duplicates(path.stem for path in paths)
    if twice:
        raise InputError(f"{folder}: expected each slide once, found {sheets.listed(twice)} more than once. Move one.")
    cases = {} if samples is None else _cases(samples)
    found, unknown = [], []
    for path in paths:
        case = cases.get(path.name, patient_of(path.stem.split(".", maxsplit=1)[0]))
        if samples is not None and path.name not in cases:
            continue
        if case == path.stem.split(".", maxsplit=1)[0]:
            unknown.append(path.name)
            continue
        found.append(FoundSlide(slide_id=path.stem, patient_id=case, path=path, type=slide_type(path.stem)))
    if unknown:
        raise InputError(
            f"{folder}: expected names that begin with TCGA barcodes, found {len(unknown)} that do not: "
            f"{sheets.listed(unknown, most=3)}. Give GDC's sample sheet with --samples, or write the sheet by hand."
        )
    if not found:
        raise InputError(
            f"{folder}: expected slides ({', '.join(SUFFIXES)}){'' if samples is None else f' that {samples} names'}, "
            f"found none among {len(paths)}."
        )
    return found


def _cases(samples: Path) -> dict[str, str]:
    sheet = sheets.read_sheet(samples)
    sheets.require_columns(sheet.columns, _SAMPLE_SHEET, path=samples, hint="It is GDC's gdc_sample_sheet.tsv.")
    # GDC repeats the case for each sample of a file.
    return {name: case.split(",")[0].strip() for name, case in zip(sheet["File Name"], sheet["Case ID"], strict=True)}


def check_download(slides: list[FoundSlide], *, manifest: Path, md5: bool) -> list[str]:
    """What is wrong with a download, by GDC's manifest: files that are missing, or not as large, or not as hashed.

    Raises
    ------
    InputError
        The manifest is none.
    """
    sheet = sheets.read_sheet(manifest)
    sheets.require_columns(sheet.columns, _MANIFEST, path=manifest, hint="It is GDC's gdc_manifest.txt.")
    by_name = {slide.path.name: slide.path for slide in slides}
    problems = []
    for line, row in sheet.iterrows():
        name, size = row["filename"], row["size"]
        if not name.lower().endswith(SUFFIXES):
            continue
        path = by_name.get(name)
        if path is None:
            problems.append(f"line {line}: {name} is missing")
        elif str(path.stat().st_size) != size:
            problems.append(f"line {line}: {name} has {path.stat().st_size} of {size} bytes")
        elif md5 and _md5(path) != row["md5"]:
            problems.append(f"line {line}: {name} has another md5 than the manifest says")
    return problems


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
