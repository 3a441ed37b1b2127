"""A model of a config: one section out of those of all architectures."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from tta_pipeline.model_sections.base import Architecture
from tta_pipeline.model_sections.coattention import CMTA, MCAT, MOTCat
from tta_pipeline.model_sections.genomics import MLP, SNN, PathwayTransformer
from tta_pipeline.model_sections.histology import ABMIL, MeanPool, TransMIL
from tta_pipeline.model_sections.ld_cvae import LDCVAE
from tta_pipeline.model_sections.mmp import MMP
from tta_pipeline.model_sections.mrepath import MRePath
from tta_pipeline.model_sections.multimodal import LateFusion, SurvPath
from tta_pipeline.model_sections.pibd import PIBD
from tta_pipeline.model_sections.tabular import ClinicalCox, ClinicalPlus, ElasticNet, RiskSum, SurvivalForest, Tabular
from tta_pipeline.model_sections.tta import TTA

ARCHITECTURES: dict[str, type[Architecture | Tabular]] = {
    "tta": TTA,
    "mlp": MLP,
    "snn": SNN,
    "pathway-transformer": PathwayTransformer,
    "mean-pool": MeanPool,
    "abmil": ABMIL,
    "transmil": TransMIL,
    "late-fusion": LateFusion,
    "mcat": MCAT,
    "motcat": MOTCat,
    "cmta": CMTA,
    "survpath": SurvPath,
    "mmp": MMP,
    "pibd": PIBD,
    "mrepath": MRePath,
    "ld-cvae": LDCVAE,
    "clinical-cox": ClinicalCox,
    "elastic-net": ElasticNet,
    "survival-forest": SurvivalForest,
    "clinical-plus": ClinicalPlus,
    "risk-sum": RiskSum,
}


def _architecture(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return str(entry.get("architecture", "tta"))
    return str(getattr(entry, "architecture", "of what is no mapping of options"))


Model = Annotated[
    Annotated[TTA, Tag("tta")]
    | Annotated[MLP, Tag("mlp")]
    | Annotated[SNN, Tag("snn")]
    | Annotated[PathwayTransformer, Tag("pathway-transformer")]
    | Annotated[MeanPool, Tag("mean-pool")]
    | Annotated[ABMIL, Tag("abmil")]
    | Annotated[TransMIL, Tag("transmil")]
    | Annotated[LateFusion, Tag("late-fusion")]
    | Annotated[MCAT, Tag("mcat")]
    | Annotated[MOTCat, Tag("motcat")]
    | Annotated[CMTA, Tag("cmta")]
    | Annotated[SurvPath, Tag("survpath")]
    | Annotated[MMP, Tag("mmp")]
    | Annotated[PIBD, Tag("pibd")]
    | Annotated[MRePath, Tag("mrepath")]
    | Annotated[LDCVAE, Tag("ld-cvae")]
    | Annotated[ClinicalCox, Tag("clinical-cox")]
    | Annotated[ElasticNet, Tag("elastic-net")]
    | Annotated[SurvivalForest, Tag("survival-forest")]
    | Annotated[ClinicalPlus, Tag("clinical-plus")]
    | Annotated[RiskSum, Tag("risk-sum")],
    Discriminator(
        _architecture,
        custom_error_type="architecture",
        custom_error_message=f"expected an architecture among {', '.join(ARCHITECTURES)}",
    ),
]
