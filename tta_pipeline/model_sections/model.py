"""A model of a config: one section out of those of all architectures."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from tta_pipeline.model_sections.base import Architecture
from tta_pipeline.model_sections.genomics import MLP, SNN
from tta_pipeline.model_sections.histology import ABMIL, MeanPool
from tta_pipeline.model_sections.mmp import MMP
from tta_pipeline.model_sections.multimodal import LateFusion
from tta_pipeline.model_sections.pibd import PIBD
from tta_pipeline.model_sections.tta import TTA

ARCHITECTURES: dict[str, type[Architecture]] = {
    "tta": TTA,
    "mlp": MLP,
    "snn": SNN,
    "mean-pool": MeanPool,
    "abmil": ABMIL,
    "late-fusion": LateFusion,
    "mmp": MMP,
    "pibd": PIBD,
}


def _architecture(entry: Any) -> str:
    return str(entry.get("architecture", "tta") if isinstance(entry, dict) else entry.architecture)


Model = Annotated[
    Annotated[TTA, Tag("tta")]
    | Annotated[MLP, Tag("mlp")]
    | Annotated[SNN, Tag("snn")]
    | Annotated[MeanPool, Tag("mean-pool")]
    | Annotated[ABMIL, Tag("abmil")]
    | Annotated[LateFusion, Tag("late-fusion")]
    | Annotated[MMP, Tag("mmp")]
    | Annotated[PIBD, Tag("pibd")],
    Discriminator(
        _architecture,
        custom_error_type="architecture",
        custom_error_message=f"expected an architecture among {', '.join(ARCHITECTURES)}",
    ),
]
