"""What every section of a config shares."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _expand(value: object) -> object:
    return os.path.expanduser(os.path.expandvars(value)) if isinstance(value, str) else value  # noqa: PTH111


StudyPath = Annotated[Path, BeforeValidator(_expand)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A section of the config; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
