"""From raw TCGA whole-slide images and RNA-seq to survival risk scores with the TTA model."""

from importlib.metadata import version

__version__ = version("tta-pipeline")
