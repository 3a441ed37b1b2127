"""What is said of a config that does not fit."""

import difflib

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tta_pipeline.section import Section


def describe(error: ValidationError, *, where: str) -> str:
    """One message for a pydantic error: each wrong key with what was expected and what came."""
    lines = [
        f"{where}: {'.'.join(map(str, problem['loc'])) or 'config'}: {problem['msg']}, found {problem['input']!r}."
        f"{_meant(problem)}"
        for problem in error.errors()
    ]
    return "\n".join([*lines, "See config/README.md for every key, its unit and its limits."])


def _meant(problem: ErrorDetails) -> str:
    """A key like the unknown one that a problem names."""
    if problem["type"] != "extra_forbidden":
        return ""
    known = {key for section in _sections(Section) for key in section.model_fields}
    near = difflib.get_close_matches(str(problem["loc"][-1]), sorted(known), n=1)
    return f" Do you mean {near[0]}?" if near else ""


def _sections(section: type[Section]) -> list[type[Section]]:
    below = section.__subclasses__()
    return [*below, *(each for one in below for each in _sections(one))]
