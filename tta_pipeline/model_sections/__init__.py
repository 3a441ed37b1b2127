"""The models of a config: a pydantic model per architecture, which an entry names; `tta` where it names none.

References stand in the modules of the models.
"""

from tta_pipeline.model_sections.base import Architecture
from tta_pipeline.model_sections.coattention import CMTA, MCAT, CoAttention, MOTCat
from tta_pipeline.model_sections.genomics import MLP, SNN, PathwayTransformer
from tta_pipeline.model_sections.histology import ABMIL, MeanPool, TransMIL
from tta_pipeline.model_sections.ld_cvae import LDCVAE
from tta_pipeline.model_sections.mmp import MMP
from tta_pipeline.model_sections.model import ARCHITECTURES, Model
from tta_pipeline.model_sections.mrepath import MRePath
from tta_pipeline.model_sections.multimodal import LateFusion, SurvPath
from tta_pipeline.model_sections.pibd import PIBD
from tta_pipeline.model_sections.published import PUBLISHED
from tta_pipeline.model_sections.tabular import (
    ClinicalCox,
    ClinicalPlus,
    ElasticNet,
    RiskSum,
    Stacked,
    SurvivalForest,
    Tabular,
)
from tta_pipeline.model_sections.tta import TTA

__all__ = [
    "ABMIL",
    "ARCHITECTURES",
    "CMTA",
    "LDCVAE",
    "MCAT",
    "MLP",
    "MMP",
    "PIBD",
    "PUBLISHED",
    "SNN",
    "TTA",
    "Architecture",
    "ClinicalCox",
    "ClinicalPlus",
    "CoAttention",
    "ElasticNet",
    "LateFusion",
    "MOTCat",
    "MRePath",
    "MeanPool",
    "Model",
    "PathwayTransformer",
    "RiskSum",
    "Stacked",
    "SurvPath",
    "SurvivalForest",
    "Tabular",
    "TransMIL",
]
