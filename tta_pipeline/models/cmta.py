"""Each modality is encoded, translated into the other, and held close to that translation."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import ReLULayer
from tta_pipeline.models.fusion_blocks import ConcatFusion
from tta_pipeline.models.gene_nets import Genes, PrivateLinear
from tta_pipeline.models.layers import PathwayLinear
from tta_pipeline.models.token_blocks import CrossAttention
from tta_pipeline.models.transmil_body import TransMILBody

_CLASS_STD = 1e-6  # of the class tokens' start


class Bodies(nn.Module):
    """TransMIL's body for patches, and one without its grid for gene sets: the encoders, or the decoders.

    Attention among gene sets is exact, or, as released, through as many landmarks as for patches: each is one token
    then, and zeros, which take part in the softmax, stand for those that are missing.
    """

    def __init__(self, options: model_sections.CMTA):
        super().__init__()
        self.histology, self.genomics = (
            TransMILBody(
                options.hidden_dim,
                landmarks=options.landmarks if grid or options.released else None,
                grid=grid,
                heads=options.heads,
                dropout=options.attention_dropout,
                null_tokens=options.released,
                class_std=_CLASS_STD,
            )
            for grid in (True, False)
        )


class CMTA(RiskModel):
    """Cross-Modal Translation and Alignment.

    The order of patches in the bag matters, as it does to TransMIL. `losses`: the distance of either modality's class
    token from its translation, which alone it moves.

    References
    ----------
    Zhou and Chen, "Cross-Modal Translation and Alignment for Survival Analysis", ICCV 2023.
    """

    modalities = ("genomics", "histology")

    def __init__(
        self, options: model_sections.CMTA, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        super().__init__()
        width, dropout = options.hidden_dim, options.dropout
        self.alignment_weight = options.alignment_weight
        self.patches = nn.Sequential(
            ReLULayer(feature_dim, width, dropout=dropout), ReLULayer(width, width, dropout=dropout)
        )
        self.genes = Genes(pathways, hidden=options.gene_hidden_dim, out=width, dropout=dropout)
        self.encoders, self.decoders = Bodies(options), Bodies(options)
        self.patches_read_genes, self.genes_read_patches = CrossAttention(width), CrossAttention(width)
        self.fusion = ConcatFusion(width)
        self.head = nn.Linear(width, outputs)
        xavier_normal(self, sizes=[len(genes) for genes in pathways])

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient; the alignment loss in training mode."""
        own_histology, patches, mask = self.encoders.histology(self.patches(batch.features), mask=batch.mask)
        own_genes, genes, _ = self.encoders.genomics(self.genes(batch.expression))
        read, _ = self.patches_read_genes(patches, tokens=genes)
        histology, _, _ = self.decoders.histology(read, mask=mask)
        read, _ = self.genes_read_patches(genes, tokens=patches, mask=mask)
        translated, _, _ = self.decoders.genomics(read)
        fused = self.fusion(histology=(own_histology + histology) / 2, genes=(own_genes + translated) / 2)
        losses = {}
        if self.training and self.alignment_weight > 0:
            distance = _distance(histology, own_histology) + _distance(translated, own_genes)
            losses["alignment"] = self.alignment_weight * distance
        return Output(scores=self.head(fused), losses=losses)


def _distance(translated: Tensor, own: Tensor) -> Tensor:
    """Mean absolute difference, with a gradient for the translation alone."""
    return (translated - own.detach()).abs().mean()


@torch.no_grad()
def xavier_normal(model: nn.Module, *, sizes: list[int]) -> None:
    """Start the weights of all linear layers at N(0, 2 / (fan-in + fan-out)); `sizes` are those of the gene sets."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
        elif isinstance(module, PrivateLinear):
            nn.init.normal_(module.weight, std=(2 / sum(module.weight.shape[1:])) ** 0.5)
        elif isinstance(module, PathwayLinear):
            fan_in = torch.tensor(sizes).repeat_interleave(torch.tensor(sizes))[:, None]
            module.weight.normal_().mul_((2 / (fan_in + module.weight.shape[1])).sqrt())
