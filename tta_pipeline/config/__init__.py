"""The config of one study: a pydantic model per section, from which schema, CLI flags and the manual's tables come.

Paths are relative to the working directory of the study; `$NAME` and `~` are expanded.
"""

from tta_pipeline.config.inputs import Inputs
from tta_pipeline.config.messages import describe
from tta_pipeline.config.patients import BadSlides, Cohort, Pathways, Splits
from tta_pipeline.config.results import Evaluate, Report
from tta_pipeline.config.slides import Features, Tiles
from tta_pipeline.config.study import Study, load
from tta_pipeline.config.train import SHARED_BY_MODELS, Search, Train, recipe_of
from tta_pipeline.model_sections import TTA

__all__ = [
    "SHARED_BY_MODELS",
    "TTA",
    "BadSlides",
    "Cohort",
    "Evaluate",
    "Features",
    "Inputs",
    "Pathways",
    "Report",
    "Search",
    "Splits",
    "Study",
    "Tiles",
    "Train",
    "describe",
    "load",
    "recipe_of",
]
