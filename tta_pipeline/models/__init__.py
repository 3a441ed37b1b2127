"""What is trained: the `architecture` of a config section -> its class."""

from tta_pipeline.models.abmil import ABMIL
from tta_pipeline.models.batch import RiskModel
from tta_pipeline.models.late_fusion import LateFusion
from tta_pipeline.models.mean_pool import MeanPool
from tta_pipeline.models.mlp import MLP
from tta_pipeline.models.mmp import MMP
from tta_pipeline.models.pibd import PIBD
from tta_pipeline.models.snn import SNN
from tta_pipeline.models.tta import TTA

MODELS: dict[str, type[RiskModel]] = {
    "tta": TTA,
    "mlp": MLP,
    "snn": SNN,
    "mean-pool": MeanPool,
    "abmil": ABMIL,
    "late-fusion": LateFusion,
    "mmp": MMP,
    "pibd": PIBD,
}
