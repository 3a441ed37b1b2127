"""Names of genes as people write them: of which kind they are, and what a spreadsheet makes of them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets

# GENCODE marks the genes that X and Y share once more, on Y.
_VERSIONED = re.compile(r"(ENSG\d{11})(?:\.\d+)?(?:_PAR_Y)?")
# Firehose writes symbol and Entrez number.
_FIREHOSE = re.compile(r"([^|?]+)\|\d+")
_ENSEMBL = re.compile(r"ENS[A-Z]*\d{11}(?:\.\d+)?")
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_DATE = re.compile(
    rf"\d{{1,2}}-{_MONTH}(-\d{{2,4}})?|{_MONTH}-\d{{1,2}}|\d{{4}}-\d\d-\d\d( 00:00:00)?|\d{{1,4}}/\d{{1,2}}/\d{{1,4}}",
    re.IGNORECASE,
)
# Names of FAM215A, DDX54, POU2F1, POU2F2 and POU5F1, written like a date.
_NO_DATES = frozenset(["APR-2", "APR-5", "OCT-1", "OCT-2", "OCT-4", "Oct-1", "Oct-2", "Oct-4"])
SYMBOL, ENSEMBL, ENTREZ = "symbol", "Ensembl identifier", "Entrez number"


def plain(name: str) -> str:
    """A name without the version of an Ensembl identifier, or the Entrez number that Firehose adds (A1BG|1)."""
    found = _VERSIONED.fullmatch(name) if name.startswith("ENSG") else _FIREHOSE.fullmatch(name)
    return found.group(1) if found else name


def kind_of(name: str) -> str:
    """`ENSEMBL` or `ENTREZ` by the look of the name, `SYMBOL` for every other."""
    if name.isdecimal():
        return ENTREZ
    return ENSEMBL if name.startswith("ENS") and _ENSEMBL.fullmatch(name) else SYMBOL


def count_kinds(names: Iterable[str]) -> Counter[str]:
    """Number of names of each kind, in one order of the kinds."""
    found = Counter(map(kind_of, names))
    return Counter({kind: found[kind] for kind in (SYMBOL, ENSEMBL, ENTREZ) if found[kind]})


def described(kinds: Counter[str]) -> str:
    """Kinds for a message, the most frequent first, such as "300 symbols, 1 Entrez number"."""
    return ", ".join(f"{count:,} {kind}{'s' * (count != 1)}" for kind, count in kinds.most_common()) or "none"


def is_date(name: str) -> bool:
    """Whether a spreadsheet may have made this of a name such as MARCH1 or SEPT2."""
    return bool(_DATE.fullmatch(name)) and name not in _NO_DATES


def refuse_dates(found: Sequence[tuple[str, str]], *, path: Path) -> None:
    """Stop where there are dates among the names of genes; each comes with its place in the file.

    Raises
    ------
    InputError
        Names file, places, and what stands there.
    """
    if found:
        raise InputError(
            f"{path}: expected names of genes, found dates into which a spreadsheet has turned them: "
            f"{sheets.listed(f'{name} ({place})' for name, place in found)}. Fetch the file again (MARCH1, SEPT2 and "
            "their like), and keep it out of Excel."
        )
