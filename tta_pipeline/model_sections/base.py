"""What the entries of all architectures share."""

from typing import Any, Literal

from pydantic import Field

from tta_pipeline.section import Section


class Architecture(Section):
    """What the entries of all architectures share."""

    architecture: str

    recipe: Literal["common", "published"] = Field(
        "common",
        description="common: the section `train`; published: what the model was published with, where that differs",
    )
    train: dict[str, Any] = Field({}, description="keys of the section `train` that this model takes otherwise")
