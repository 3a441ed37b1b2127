"""What is fitted without epochs: the `architecture` of a config section -> its class."""

from collections.abc import Callable
from typing import Any

from tta_pipeline.models.tabular.clinical_cox import ClinicalCox
from tta_pipeline.models.tabular.elastic_net import ElasticNet
from tta_pipeline.models.tabular.model import TabularModel
from tta_pipeline.models.tabular.risk_sum import RiskSum
from tta_pipeline.models.tabular.survival_forest import SurvivalForest

TABULAR: dict[str, Callable[[Any], TabularModel]] = {
    "clinical-cox": ClinicalCox,
    "elastic-net": ElasticNet,
    "survival-forest": SurvivalForest,
    "clinical-plus": ClinicalCox,
    "risk-sum": RiskSum,
}
