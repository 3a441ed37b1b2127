"""From raw TCGA whole-slide images and RNA-seq to survival risk scores with the TTA model."""

__version__ = "0.1.0"
