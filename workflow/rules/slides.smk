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


MEMORY = Path("results/cohort/batches.tsv")


@cache
def slides_to_encode():
    return [row for row in sheet_of_slides() if row.get("slide_id") and row.get("path") and not row.get("features")]


@cache
def batch_of_slide():
    """A slide keeps the batch that is remembered, new ones fill new batches.

    The same rule as `assign_batches` of the cohort stage, so that the plan holds before that stage has run.
    """
    known = {}
    if MEMORY.is_file():
        with MEMORY.open(encoding="utf-8", newline="") as file:
            known = {row["slide_id"]: row["batch"] for row in csv.DictReader(file, delimiter="\t")}
    last = max((int(batch[1:]) for batch in known.values()), default=0)
    rows = slides_to_encode()
    new = [row["slide_id"] for row in rows if row["slide_id"] not in known]
    size = config["cohort"]["slides_per_job"] or max(16, -(-len(rows) // 500))
    return known | {slide: f"b{last + 1 + index // size:04d}" for index, slide in enumerate(new)}


def remember_batches():
    """Write down what was planned when jobs begin: tiles and features may be all that ever runs, or cohort may fail."""
    MEMORY.parent.mkdir(parents=True, exist_ok=True)
    whole = MEMORY.with_name(f".{MEMORY.name}.tmp")
    rows = (f"{slide}\t{batch}\n" for slide, batch in batch_of_slide().items())
    whole.write_text("slide_id\tbatch\n" + "".join(rows), encoding="utf-8")
    whole.replace(MEMORY)


@cache
def batches():
    """Rows of the slides to encode, by batch, sorted by slide: the order of the sheet changes no parameter."""
    found = {}
    for row in sorted(slides_to_encode(), key=lambda row: row["slide_id"]):
        found.setdefault(batch_of_slide()[row["slide_id"]], []).append(row)
    return dict(sorted(found.items()))


def images_of_batch(wildcards):
    """Slides of one batch with the sizes of their images in bytes, which make it run again where one has changed: their
    times alone do not, for slides that come back from an archive have new ones, nor does the folder where they lie. They
    are parameters, not inputs, for Snakemake would look at each of many thousand inputs some dozen times and find out
    nothing more. Read once for tiles and features.
    """
    return images(wildcards.batch)


@cache
def images(batch):
    paths = {row["slide_id"]: beside_sheet(row["path"]) for row in batches()[batch]}
    sizes = {slide: os.path.getsize(path) for slide, path in paths.items() if os.path.exists(path)}
    if len(sizes) < len(paths):
        sizes = sizes_before(batch) | sizes
    return [f"{slide}: {sizes.get(slide) or 0} bytes" for slide in paths]


def sizes_before(batch):
    """Sizes of images that the finished job of tiles noted: one that has gone since makes nothing out of date."""
    journal = Path(f"results/tiles/batches/{batch}.tsv.journal")
    lines = journal.read_text(encoding="utf-8").splitlines()[1:] if journal.is_file() else []
    return {row["slide_id"]: row.get("bytes") for row in map(json.loads, lines)}


def masks_of_batch(wildcards):
    """Masks of tissue that the sheet names for slides of one batch."""
    return present(batches()[wildcards.batch], "mask")


def slides_of_batch(wildcards):
    """Identifiers of the slides of one batch."""
    return [row["slide_id"] for row in batches()[wildcards.batch]]


def mpp_of_batch(wildcards):
    """What the sheet says of the resolution of a batch: a changed value runs it again."""
    return [number(row.get("mpp", "")) for row in batches()[wildcards.batch]]


def number(cell):
    """0.50 is 0.5; what is no number stays as it is, for the stage to report."""
    try:
        return float(cell)
    except ValueError:
        return cell


def feature_manifests(wildcards):
    """Manifests of all batches; none where every slide brings its features."""
    return expand("results/features/batches/{batch}.tsv", batch=list(batches()))


def tiled_batches(wildcards):
    """Manifests of the tiles of all batches."""
    return expand("results/tiles/batches/{batch}.tsv", batch=list(batches()))


def quality_tables(wildcards):
    """What quality control of the tiles found, for all batches."""
    return expand("results/tiles/batches/{batch}.quality.tsv", batch=list(batches()))
