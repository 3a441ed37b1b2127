"""A batch of slides: one job works on them and writes one manifest of what became of each.

Only the manifest is an output of the workflow. While the job runs it keeps a journal beside it, `{manifest}.partial`:
a first line with the hash of the options, then a line for each finished slide with a hash of what it was made from.
A job that finds a journal of the same options takes over its slides whose file exists and whose inputs are unchanged.
Where an image lies does not matter, and a slide whose image has gone since, to an archive perhaps, is taken over too.
Slides that could not be used are tried again. When the manifest is written the journal becomes `{manifest}.journal`:
from it the next job takes over, and the workflow reads how large images were that have gone.

A job that is told to compute its slides again (`--forcerun`) takes over none but those that a job of the same kind did
before it was stopped.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from tta_pipeline import __version__
from tta_pipeline.errors import InputError, SlideError
from tta_pipeline.io import hdf5, sheets, tables
from tta_pipeline.io.cohort import read_slides

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """One slide of a batch.

    mpp: micrometres per level-0 pixel as the sheet gives it, None where it does not.
    inputs: further files that the result is made from. excluded: why an earlier stage left the slide out, or "".
    """

    slide_id: str
    path: Path
    mpp: float | None = None
    inputs: Mapping[str, Path] = field(default_factory=dict)
    excluded: str = ""


@dataclass(frozen=True)
class Finished:
    """What was made of one slide: the file and its number of tiles."""

    file: Path
    n: int


def read_tasks(slides: Path, *, slide_ids: Sequence[str] = ()) -> list[Task]:
    """Slides of the sheet that bring no ready-made features, in the order of the sheet.

    Whether their files exist is not looked at here: one that is missing is a slide that cannot be used.

    Parameters
    ----------
    slides
        The sheet of slides; see `io.cohort.read_slides`.
    slide_ids
        Only these; all where none is named.

    Raises
    ------
    InputError
        The sheet does not fit, or has no such slide with an image to work on.
    """
    table = read_slides(slides, existing=())
    rows = table[table["features"] == ""]
    absent = [name for name in slide_ids if name not in set(rows["slide_id"])]
    if absent or rows.empty:
        raise InputError(
            f"{slides}: expected slides without ready-made features{': ' + sheets.listed(absent) if absent else ''}, "
            "found none. Check --slide-ids."
        )
    rows = rows[rows["slide_id"].isin(slide_ids)] if slide_ids else rows
    return [
        Task(
            slide_id=str(slide_id),
            path=Path(path),
            mpp=None if pd.isna(mpp) else float(mpp),
            inputs={"mask": Path(mask)} if mask else {},
        )
        for slide_id, path, mpp, mask in rows[["slide_id", "path", "mpp", "mask"]].itertuples(index=False)
    ]


Outcome = tuple[Task, Finished | SlideError]


def one_by_one(work: Callable[[Task], Finished]) -> Callable[[Iterable[Task]], Iterator[Outcome]]:
    """The `work` of `run_batch` from a function of one slide, which raises SlideError where it cannot be used."""

    def work_on_all(tasks: Iterable[Task]) -> Iterator[Outcome]:
        for task in tasks:
            try:
                yield task, work(task)
            except SlideError as error:
                yield task, error

    return work_on_all


def run_batch(
    tasks: Sequence[Task],
    work: Callable[[list[Task]], Iterator[Outcome]],
    *,
    manifest: Path,
    options: Mapping[str, Any],
    policy: Literal["fail", "exclude"],
    again: bool = False,
    also: Callable[[Mapping[str, Finished]], None] | None = None,
) -> None:
    """Work on every slide, then write the manifest.

    Parameters
    ----------
    work
        Makes and writes the results of the slides that are left to do, and gives for each what came of it.
    options
        Everything but the slide that the results depend on, JSON-serialisable.
    policy
        A slide that cannot be used is left out with its reason ("exclude"), or the job works on all other slides
        and then fails ("fail").
    again
        Compute also the slides that an earlier job finished.
    also
        Writes what else the job declares from all finished slides, before the manifest.

    Raises
    ------
    SlideError
        The policy is "fail" and slides cannot be used; names all of them.
    """
    journal = manifest.with_name(f"{manifest.name}.partial")
    finished_before = manifest.with_name(f"{manifest.name}.journal")
    done = _resume(journal, tasks, options=options, finished_before=finished_before, again=again)
    bad: dict[str, str] = {}
    left = {task.slide_id: task for task in tasks if not task.excluded and task.slide_id not in done}
    prints = {slide_id: _prints(task) for slide_id, task in left.items()}
    for task, outcome in work(list(left.values())) if left else ():
        if isinstance(outcome, SlideError):
            _append(journal, json.dumps({"slide_id": task.slide_id, **prints[task.slide_id]}))
            bad[task.slide_id] = " ".join(str(outcome).split())
            log.warning("a slide cannot be used: %s", bad[task.slide_id])
            continue
        done[task.slide_id] = outcome
        _append(journal, _line(task, outcome, prints=prints[task.slide_id]))
    if bad and policy == "fail":
        raise SlideError(_message(bad, n_tasks=len(tasks), journal=journal))
    if also is not None:
        also({task.slide_id: done[task.slide_id] for task in tasks if task.slide_id in done})
    _write_manifest(manifest, tasks, done=done, bad=bad)
    journal.replace(finished_before)


def _resume(
    journal: Path, tasks: Sequence[Task], *, options: Mapping[str, Any], finished_before: Path, again: bool
) -> dict[str, Finished]:
    """Slides that an earlier job finished; the journal is written anew with these alone."""
    header = {"options": _hash({"tta_version": __version__, "options": dict(options)}), "again": again}
    rows = _read_journal(journal if journal.is_file() else finished_before, header=header)
    done: dict[str, Finished] = {}
    kept = [json.dumps(header)]
    for task in tasks:
        row = rows.get(task.slide_id, {})
        if "file" in row and Path(row["file"]).is_file() and not task.excluded and _fits(task, row):
            done[task.slide_id] = Finished(file=Path(row["file"]), n=row["n"])
            kept.append(json.dumps(row))
    journal.parent.mkdir(parents=True, exist_ok=True)
    temporary = journal.with_name(f".{journal.name}.tmp")
    try:
        temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        temporary.replace(journal)
    finally:
        temporary.unlink(missing_ok=True)
    if done:
        log.info("%d of %d slides are finished already (%s)", len(done), len(tasks), journal)
    return done


def _read_journal(path: Path, *, header: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows by slide, the last of each; none where the journal is of other options.

    To compute slides again, only the journal of a job that does so and was stopped will do.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = (_parsed(lines[0]) or {}) if lines else {}
    begun = path.suffix == ".partial" and found.get("again")
    if found.get("options") != header["options"] or (header["again"] and not begun):
        return {}
    return {row["slide_id"]: row for row in map(_parsed, lines[1:]) if row}


def _prints(task: Task) -> dict[str, Any]:
    """What a result is made from: hash and size in bytes of the image, None where it is missing; hash of the rest."""
    there = task.path.is_file()
    return {
        "image": hdf5.fingerprint(task.path) if there else None,
        "bytes": task.path.stat().st_size if there else None,
        "stamp": _stamp(task),
    }


def _stamp(task: Task) -> str:
    """Hash of what a result is made from beside the image. A missing file is work's to report."""
    files = {name: hdf5.fingerprint(path) if path.is_file() else "missing" for name, path in task.inputs.items()}
    return _hash({"mpp": task.mpp, "inputs": files})


def _fits(task: Task, row: Mapping[str, Any]) -> bool:
    """Whether a finished slide is made from what is there now; of an image that has gone nothing better can be made."""
    if row["stamp"] != _stamp(task):
        return False
    return not task.path.is_file() or row.get("image") == hdf5.fingerprint(task.path)


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _line(task: Task, finished: Finished, *, prints: Mapping[str, Any]) -> str:
    return json.dumps({"slide_id": task.slide_id, "file": str(finished.file), "n": finished.n, **prints})


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of the journal; None for one that was cut off when the job was killed."""
    try:
        row: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row


def _append(journal: Path, line: str) -> None:
    with journal.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def _message(bad: Mapping[str, str], *, n_tasks: int, journal: Path) -> str:
    reasons = "\n".join(f"  {reason}" for reason in bad.values())
    return (
        f"expected {n_tasks} usable slides, found {len(bad)} that cannot be used:\n{reasons}\n"
        f"Mend them and run again (finished slides are kept, {journal}), or leave them out with "
        "bad_slides: {policy: exclude, limit: ...}."
    )


def _write_manifest(
    manifest: Path, tasks: Sequence[Task], *, done: Mapping[str, Finished], bad: Mapping[str, str]
) -> None:
    rows = pd.DataFrame(
        {
            "slide_id": [task.slide_id for task in tasks],
            "file": [str(done[task.slide_id].file) if task.slide_id in done else "" for task in tasks],
            "n": [done[task.slide_id].n if task.slide_id in done else 0 for task in tasks],
            "excluded": [task.excluded or bad.get(task.slide_id, "") for task in tasks],
            "fingerprint": [
                hdf5.fingerprint(done[task.slide_id].file) if task.slide_id in done else "" for task in tasks
            ],
        }
    )
    tables.write_table(manifest, rows, columns=tables.MANIFEST)
