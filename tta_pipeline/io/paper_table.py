"""The table of several studies: finished reports are read, one table is written as TSV, Markdown and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tta_pipeline.errors import InputError
from tta_pipeline.io import report_tables, tables
from tta_pipeline.io.whole_files import write_whole

# One row per model and cohort; reporting.paper says what the columns are.
PAPER = {
    "model": "string",
    "cohort": "string",
    "n_patients": "float64",
    "n_events": "float64",
    "c_mean": "float64",
    "c_std_folds": "float64",
    "c_pooled": "float64",
    "c_pooled_low": "float64",
    "c_pooled_high": "float64",
    "uno_c": "float64",
    "uno_c_low": "float64",
    "uno_c_high": "float64",
    "ibs": "float64",
    "ibs_low": "float64",
    "ibs_high": "float64",
    "seconds_per_epoch": "float64",
    "n_parameters": "float64",
    "peak_mb": "float64",
    "best": "bool",
    "note": "string",
}
READ = ("summary", "comparisons", "scores", "scores_summary", "costs", "events", "study", "warnings")
_TEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


@dataclass(frozen=True)
class Block:
    """One quantity: rows of models, columns of cohorts; `bold` marks cells, (models, cohorts) as `cells`."""

    title: str
    models: Sequence[str]
    cohorts: Sequence[str]
    cells: Sequence[Sequence[str]]
    bold: Sequence[Sequence[bool]]


def read_report(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables `READ` of a finished report: of a study's folder, or of the folder of the report itself.

    Raises
    ------
    InputError
        There is no finished report.
    ArtifactError
        A table is of another version.
    """
    places = (folder / "results" / "report", folder)
    found = next((place for place in places if (place / "index.html").is_file()), None)
    missing = [] if found is None else [f"{name}.tsv" for name in READ if not (found / f"{name}.tsv").is_file()]
    if found is None or missing:
        lacks = f"one without {', '.join(missing)}" if missing else "none"
        raise InputError(
            f"{folder}: expected a study with a finished report (results/report/index.html and its tables), found "
            f"{lacks}. Run the study to its end: snakemake --until report."
        )
    return {name: tables.read_table(found / f"{name}.tsv", columns=report_tables.TABLES[name]) for name in READ}


def write_markdown(path: Path, blocks: Sequence[Block], *, notes: Sequence[str]) -> None:
    """One table per block, and the notes below."""
    lines = []
    for block in blocks:
        lines += [f"**{block.title}**", "", _row(["Model", *map(_markdown, block.cohorts)])]
        lines.append(_row(["---", *["---:"] * len(block.cohorts)]))
        for model, cells, bold in zip(block.models, block.cells, block.bold, strict=True):
            marked = [f"**{cell}**" if best else cell for cell, best in zip(cells, bold, strict=True)]
            lines.append(_row([_markdown(model), *marked]))
        lines.append("")
    lines += [f"- {_markdown(note)}" for note in notes]
    write_whole(path, ("\n".join(lines).rstrip() + "\n").encode("utf-8"))


def write_tex(path: Path, blocks: Sequence[Block], *, notes: Sequence[str]) -> None:
    """One tabular per block (of the package booktabs), and the notes below."""
    lines = []
    for block in blocks:
        lines += [rf"\paragraph{{{_tex(block.title)}}}", rf"\begin{{tabular}}{{l{'r' * len(block.cohorts)}}}"]
        lines += [r"\toprule", _tex_row(["Model", *map(_tex, block.cohorts)]), r"\midrule"]
        for model, cells, bold in zip(block.models, block.cells, block.bold, strict=True):
            escaped = [_tex(cell) for cell in cells]
            marked = [rf"\textbf{{{cell}}}" if best else cell for cell, best in zip(escaped, bold, strict=True)]
            lines.append(_tex_row([_tex(model), *marked]))
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    if notes:  # \relax: a note that begins with a bracket would be the label of its item
        lines += [r"\begin{itemize}", *(rf"\item\relax {_tex(note)}" for note in notes), r"\end{itemize}"]
    write_whole(path, ("\n".join(lines).rstrip() + "\n").encode("utf-8"))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", r"\|").replace("*", r"\*").replace("_", r"\_").replace("<", "&lt;")


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)
