"""HGNC's table of approved symbols: reading its two layouts, and writing the short one that is shipped in `data/`."""

import argparse
import datetime
import gzip
from pathlib import Path

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets

# The columns that are used, by the names of hgnc_complete_set.txt; a cell holds several names with a bar between them.
COLUMNS = ("symbol", "prev_symbol", "alias_symbol", "entrez_id", "ensembl_gene_id")
SEPARATOR = "|"
FOLDER = Path(__file__).parent / "data"
# HGNC's custom downloads name them otherwise, and put commas between names.
_CUSTOM = (
    "Approved symbol",
    "Previous symbols",
    "Alias symbols",
    "NCBI Gene ID(supplied by NCBI)",
    "Ensembl gene ID",
)
_ABOUT = "# HGNC (genenames.org), download of {date}, CC0 1.0: approved entries, five columns"


def shipped_table() -> Path:
    """The table in `data/`; its name holds the date of the download."""
    (path,) = FOLDER.glob("hgnc_*.tsv.gz")
    return path


def date_of(path: Path) -> str:
    """Date in the name of a shipped table."""
    return path.name.removeprefix("hgnc_").removesuffix(".tsv.gz")


def read_entries(path: Path) -> list[tuple[str, ...]]:
    """Cells of `COLUMNS` of each approved entry, names within a cell separated by `SEPARATOR`.

    Parameters
    ----------
    path
        hgnc_complete_set.txt, a custom download of HGNC, or a table that `write_table` wrote.

    Raises
    ------
    InputError
        The file lacks a column, or holds no approved entry.
    """
    rows = sheets.read_rows(path)
    _, header = next(rows)
    custom = _CUSTOM[0] in header
    columns = _CUSTOM if custom else COLUMNS
    sheets.require_columns(header, columns, path=path, hint="It is HGNC's hgnc_complete_set.txt.")
    places = [header.index(column) for column in columns]
    status = next((place for place, column in enumerate(header) if column.lower() == "status"), None)
    separator = "," if custom else SEPARATOR
    entries = [
        tuple(_tidy(cells[place], separator=separator) for place in places)
        for _, cells in rows
        if status is None or cells[status] == "Approved"
    ]
    if not entries:
        raise InputError(f"{path}: expected approved entries of HGNC, found none. Download the complete set again.")
    return entries


def write_table(source: Path, *, date: datetime.date, folder: Path = FOLDER) -> Path:
    """Write `hgnc_<date>.tsv.gz` and remove the table of another date; the same entries give the same bytes."""
    lines = [_ABOUT.format(date=date), "\t".join(COLUMNS), *map("\t".join, sorted(read_entries(source)))]
    path = folder / f"hgnc_{date}.tsv.gz"
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode("utf-8"), mtime=0))
    for old in set(folder.glob("hgnc_*.tsv.gz")) - {path}:
        old.unlink()
    return path


def _tidy(cell: str, *, separator: str) -> str:
    if separator == SEPARATOR and " " not in cell and '"' not in cell:
        return cell
    return SEPARATOR.join(name for part in cell.split(separator) if (name := part.strip(' "')))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=write_table.__doc__)
    parser.add_argument("--file", type=Path, required=True, help="hgnc_complete_set.txt, or a custom download")
    parser.add_argument("--date", type=datetime.date.fromisoformat, required=True, help="of the download, YYYY-MM-DD")
    given = parser.parse_args()
    write_table(given.file, date=given.date)
