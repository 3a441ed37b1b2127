"""What the entries of all architectures share."""

from typing import Any, Literal

from pydantic import Field, model_validator

from tta_pipeline.section import Section


class Architecture(Section):
    """What the entries of all architectures share."""

    architecture: str

    recipe: Literal["common", "published"] = Field(
        "common",
        description="common: the section `train`; published: what the model was published with, where that differs",
    )
    train: dict[str, Any] = Field({}, description="keys of the section `train` that this model takes otherwise")


class MultiHead(Architecture):
    """Entries of architectures whose attention has several heads, each of an equal part of the width."""

    hidden_dim: int
    heads: int

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "MultiHead":
        if self.hidden_dim % self.heads:
            raise ValueError(f"heads must divide hidden_dim, found {self.heads} and {self.hidden_dim}")
        return self
