"""The command line: one subcommand per stage and command, its flags read from the signature of its `run`.

A parameter of a simple type or a path is one flag, a list takes several values, and a config section takes
JSON or the study's config file; `--config.KEY VALUE` sets one key of it.
"""

import argparse
import errno
import importlib
import inspect
import json
import logging
import sys
import types
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from tta_pipeline import __version__, config
from tta_pipeline.errors import USER_ERRORS, InputError
from tta_pipeline.section import Section

STAGES = {
    "cohort": "who is in the study, who is out, and why",
    "tiles": "tissue and the grid of tiles on it, for one batch of slides",
    "features": "tiles through the encoder, for one batch of slides",
    "pathways": "expression and gene sets, aligned to the cohort",
    "splits": "who trains, validates and tests",
    "train": "one model on one fold with one seed",
    "evaluate": "risks of one fold's test patients",
    "report": "metrics, figures and the HTML page",
}
COMMANDS = {
    "check": "read everything of a study but pixels, and say who is in and every problem",
    "status": "how far a study is: what is done, outdated, begun, failed and missing",
    "table": "models by cohorts, from the reports of several studies",
    "sheet": "write the sheet of slides from a folder of downloads",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SECTIONS = {"config": None, "bad_slides": "bad_slides", "inputs": "inputs", "model": "models"}


def run(arguments: list[str]) -> int:
    """Run one subcommand; 0 on success, 2 and one message on an error that the user can mend."""
    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("numexpr").setLevel(logging.WARNING)  # pandas loads it, and it tells its threads
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a slide is told with its name
    try:
        return _run(arguments)
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError) as error:  # HDF5 reports a failed write on closing as a RuntimeError
        if not _disk_is_full(error):
            raise
        what = "expected room for the results, found a full disk, an exhausted quota or a limit on the size of files"
        print(f"error: {what}: {error}. Free some space and run again; finished files are kept.", file=sys.stderr)
        return 2


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "errno", None) in _FULL or any(f"errno = {code}," in str(error) for code in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tta-pipeline", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="stage")
    for name, summary in (COMMANDS | STAGES).items():
        stages.add_parser(name, help=summary, add_help=False, allow_abbrev=False)
    stage = parser.parse_known_args(arguments[:1])[0].stage
    folder = "commands" if stage in COMMANDS else "stages"
    function = importlib.import_module(f"tta_pipeline.{folder}.{stage}").run
    function(**_arguments_of(function, stage=stage, arguments=arguments[1:]))
    return 0


def _arguments_of(function: Any, *, stage: str, arguments: list[str]) -> dict[str, Any]:
    hints = get_type_hints(function, include_extras=True)
    parser = argparse.ArgumentParser(
        prog=f"tta-pipeline {stage}",
        description=inspect.getdoc(function),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, parameter in inspect.signature(function).parameters.items():
        flag = f"--{name.replace('_', '-')}"
        required = parameter.default is inspect.Parameter.empty
        if sections := _sections(hints[name]):
            parser.add_argument(
                flag, required=required, metavar="JSON|YAML", help="its section as JSON, or a config file"
            )
            for key, field in {k: f for each in sections for k, f in each.model_fields.items()}.items():
                parser.add_argument(f"{flag}.{key}", dest=f"{name}.{key}", metavar="VALUE", help=_help(field))
        else:
            takes_several = any(get_origin(hint) is list for hint in (hints[name], *get_args(hints[name])))
            nargs = "*" if takes_several else None
            parser.add_argument(flag, required=required, nargs=nargs, default=argparse.SUPPRESS)
    given = vars(parser.parse_args(arguments))
    return {
        name: _section(hint, name=name, stage=stage, given=given)
        if _sections(hint)
        else _plain(hint, name, given[name])
        for name, hint in hints.items()
        if name != "return" and name in given and given[name] is not None
    }


def _sections(hint: Any) -> list[type[Section]]:
    """The config sections that a parameter may hold: one, the architectures of a model, or none."""
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias) and issubclass(hint, Section):
        return [hint]
    return [each for argument in get_args(hint) for each in _sections(argument)]


def _help(field: Any) -> str:
    default = "" if field.is_required() else f" (default: {field.get_default()})"
    return f"{field.description or ''}{default}".replace("%", "%%")


def _plain(hint: Any, name: str, value: Any) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise InputError(f"--{name.replace('_', '-')}: expected {get_args(hint) or hint}, found {value!r}.") from error


def _section(hint: Any, *, name: str, stage: str, given: dict[str, Any]) -> Any:
    source: str = given[name]
    where = _SECTIONS[name] or stage
    if source.lstrip().startswith("{"):
        try:
            content = json.loads(source)
        except json.JSONDecodeError as error:
            raise InputError(f"--{name.replace('_', '-')}: expected JSON, found {source!r} ({error}).") from error
    else:
        content = config.load(Path(source)).model_dump(mode="json")[where]
    for key in {key for section in _sections(hint) for key in section.model_fields}:
        if given.get(f"{name}.{key}") is not None:
            content[key] = yaml.safe_load(given[f"{name}.{key}"])
    try:
        return TypeAdapter(hint).validate_python(content)
    except ValidationError as error:
        raise InputError(config.describe(error, where=where)) from error
