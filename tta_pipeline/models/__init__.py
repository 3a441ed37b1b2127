"""What is trained: the `architecture` of a config section -> its class."""

from tta_pipeline.models.abmil import ABMIL
from tta_pipeline.models.batch import RiskModel
from tta_pipeline.models.cmta import CMTA
from tta_pipeline.models.gene_perceptrons import MLP, SNN
from tta_pipeline.models.late_fusion import LateFusion
from tta_pipeline.models.ld_cvae import LDCVAE
from tta_pipeline.models.mcat import MCAT
from tta_pipeline.models.mean_pool import MeanPool
from tta_pipeline.models.mmp import MMP
from tta_pipeline.models.motcat import MOTCat
from tta_pipeline.models.mrepath import MRePath
from tta_pipeline.models.pathway_transformer import PathwayTransformer
from tta_pipeline.models.pibd import PIBD
from tta_pipeline.models.survpath import SurvPath
from tta_pipeline.models.transmil import TransMIL
from tta_pipeline.models.tta import TTA

MODELS: dict[str, type[RiskModel]] = {
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
}
