"""The models of a config: a pydantic model per architecture, which an entry names; `tta` where it names none.

References stand in the modules of the models.
"""

from tta_pipeline.model_sections.base import Architecture
from tta_pipeline.model_sections.genomics import MLP, SNN
from tta_pipeline.model_sections.histology import ABMIL, MeanPool
from tta_pipeline.model_sections.mmp import MMP
from tta_pipeline.model_sections.model import ARCHITECTURES, Model
from tta_pipeline.model_sections.multimodal import LateFusion
from tta_pipeline.model_sections.pibd import PIBD
from tta_pipeline.model_sections.published import PUBLISHED
from tta_pipeline.model_sections.tta import TTA

__all__ = [
    "ABMIL",
    "ARCHITECTURES",
    "MLP",
    "MMP",
    "PIBD",
    "PUBLISHED",
    "SNN",
    "TTA",
    "Architecture",
    "LateFusion",
    "MeanPool",
    "Model",
]
