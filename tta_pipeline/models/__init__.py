"""What is trained: the `architecture` of a config section -> its class."""

from tta_pipeline.models.batch import RiskModel
from tta_pipeline.models.tta import TTA

MODELS: dict[str, type[RiskModel]] = {"tta": TTA}
