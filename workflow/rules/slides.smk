"""Slides of the sheet, and the batches in which they are worked on."""

import csv
import gzip
import io
import re
import zlib
from functools import cache
from itertools import chain, islice

# Cells without a value, as the package reads them.
MISSING = {"", "na", "n/a", "#n/a", "nan", "none", "null", "--", "'--", "unknown", "not reported", "not available"}
MISSING |= {f"[{word}]" for word in ("not available", "not applicable", "not evaluated", "discrepancy", "unknown")}


@cache
def sheet_of_slides():
    """Rows of the user's sheet; none where it cannot be read, which the cohort stage then says."""
    sheet = Path(input_file("slides"))
    if not sheet.is_file():
        return []
    with sheet.open("rb") as file:
        unpack = gzip.open if file.read(2) == b"\x1f\x8b" else open
    types = config["inputs"]["slide_types"]
    try:
        with unpack(sheet, "rt", encoding="utf-8-sig", errors="replace", newline="") as text:
            # As much as the cohort stage reads; what is larger it refuses.
            lines = islice(io.StringIO(text.read(1 << 28), newline=""), 5_000_000)
            header = next((line for line in lines if line.strip() and not line.startswith("#")), "")
            reader = csv.reader(chain([header], lines), delimiter="\t" if "\t" in header else ",")
            names = [name.strip() for name in next(reader, [])]
            rows = (dict(zip(names, map(known, row))) for row in reader)
            return [row for row in rows if types is None or slide_type(row.get("slide_id", "")) in types]
    except (OSError, EOFError, zlib.error, csv.Error):
        return []


def known(cell):
    """What a cell says, without space around it; "" where that is not known."""
    return "" if cell.strip().lower() in MISSING else cell.strip()


def slide_type(slide_id):
    """DX, TS, MS or BS of a TCGA barcode, as the cohort stage reads it."""
    found = re.search(r"^TCGA-.*-(DX|TS|MS|BS)[0-9A-Z]*(\.|$)", slide_id)
    return found.group(1) if found else ""


def beside_sheet(path):
    """A path of the sheet is relative to the sheet's folder."""
    return str(Path(input_file("slides")).parent / os.path.expanduser(path))


def present(rows, column):
    """Files that these rows name and that exist. The others are the stages' to report, with their rows: a missing input
    would leave Snakemake with a message of its own, or with old results as if nothing had changed."""
    paths = (beside_sheet(row[column]) for row in rows if row.get(column))
    return [path for path in paths if os.path.exists(path)]


def ready_made_features(wildcards):
    """Feature files that the sheet names: cohort reads them, so a changed file runs it again."""
    return present(sheet_of_slides(), "features")


@cache
def batches():
    """Rows of the slides to encode, by batch: a slide keeps the batch that cohort remembers, new ones fill new batches.

    The same rule as `assign_batches` of the cohort stage, so that the plan holds before that stage has run.
    """
    memory = Path("results/cohort/batches.tsv")
    known = {}
    if memory.is_file():
        with memory.open(encoding="utf-8", newline="") as file:
            known = {row["slide_id"]: row["batch"] for row in csv.DictReader(file, delimiter="\t")}
    last = max((int(batch[1:]) for batch in known.values()), default=0)
    rows = [row for row in sheet_of_slides() if row.get("slide_id") and row.get("path") and not row.get("features")]
    new = [row["slide_id"] for row in rows if row.get("slide_id") not in known]
    size = config["cohort"]["slides_per_job"] or max(16, -(-len(rows) // 500))
    known |= {slide: f"b{last + 1 + index // size:04d}" for index, slide in enumerate(new)}
    found = {}
    for row in rows:
        found.setdefault(known[row["slide_id"]], []).append(row)
    return found


def images_of_batch(wildcards):
    """Whole-slide images of one batch with their sizes in bytes, which make it run again where one has changed: their times
    alone do not, for slides that come back from an archive have new ones. They are parameters, not inputs, for Snakemake
    would look at each of many thousand inputs some dozen times and find out nothing more. Read once for tiles and features.
    """
    return images(wildcards.batch)


@cache
def images(batch):
    return [f"{path}, {os.path.getsize(path)} bytes" for path in present(batches()[batch], "path")]


def masks_of_batch(wildcards):
    """Masks of tissue that the sheet names for slides of one batch."""
    return present(batches()[wildcards.batch], "mask")


def slides_of_batch(wildcards):
    """Identifiers of the slides of one batch."""
    return [row["slide_id"] for row in batches()[wildcards.batch]]


def mpp_of_batch(wildcards):
    """What the sheet says of the resolution of a batch: a changed value runs it again."""
    return [row.get("mpp") or "" for row in batches()[wildcards.batch]]


def feature_manifests(wildcards):
    """Manifests of all batches; none where every slide brings its features."""
    return expand("results/features/batches/{batch}.tsv", batch=list(batches()))


def tiled_batches(wildcards):
    """Manifests of the tiles of all batches."""
    return expand("results/tiles/batches/{batch}.tsv", batch=list(batches()))


def quality_tables(wildcards):
    """What quality control of the tiles found, for all batches."""
    return expand("results/tiles/batches/{batch}.quality.tsv", batch=list(batches()))
