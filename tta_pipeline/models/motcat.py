"""Gene sets read the bag by optimal transport instead of attention."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import ReLULayer
from tta_pipeline.models.gene_nets import Genes
from tta_pipeline.models.mcat import Branches
from tta_pipeline.models.token_blocks import blank
from tta_pipeline.numerics.partition import partition
from tta_pipeline.numerics.unbalanced import Unbalanced, shifted_cost, solve_unbalanced

_SEED = 0  # of the parts of a bag in evaluation mode


class MOTCat(RiskModel):
    """MCAT whose co-attention is an unbalanced transport plan between patches and gene sets, without gradient.

    A set reads sum_i T_ip h_i: rows of the plan are not normalised, so that what it reads shrinks with the number of
    sets. With micro-batches a patient's score is the mean over the parts of its bag, each read by all sets; the loss is
    that of the mean, where the published training takes the mean of the losses. Parts are drawn anew in each training
    step; in evaluation mode they depend on the number of patches alone, and on their order in the bag.

    References
    ----------
    Xu and Chen, "Multimodal Optimal Transport-based Co-Attention Transformer with Global Structure Consistency for
    Survival Prediction", ICCV 2023: eq. 6 and 7, the plan; section 3.3, micro-batches.
    """

    modalities = ("genomics", "histology")

    def __init__(
        self, options: model_sections.MOTCat, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        super().__init__()
        width, dropout = options.hidden_dim, options.dropout
        self.options = options
        self.patches = ReLULayer(feature_dim, width, dropout=dropout)
        self.genes = Genes(pathways, hidden=width, out=width, dropout=dropout)
        self.branches = Branches(options)
        self.head = nn.Linear(width, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient; the rounds and the residual of the solver, largest of the batch."""
        genes, patches, mask = self.genes(batch.expression), self.patches(batch.features), batch.mask
        bag = torch.arange(len(mask), device=mask.device)
        if self.options.micro_batch is not None:
            lengths = mask.sum(dim=1)
            n_parts = torch.minimum(lengths // self.options.micro_batch + 1, lengths)  # as released
            parts = partition(mask, parts=n_parts, seed=None if self.training else _SEED)
            bag, mask = parts.bag, parts.mask
            patches = patches[bag[:, None], parts.tokens]  # (parts, largest, width)
        solution = self.transport(patches, genes=genes[bag], mask=mask)
        read = solution.plan.mT @ blank(patches, mask=mask)  # (parts, sets, width)
        scores = self.head(self.branches(histology=read, genes=genes, bag=bag))
        return Output(
            scores=_means(scores, bag=bag),
            diagnostics={
                "solver_iterations": float(solution.rounds.max()),
                "solver_residual": float(solution.residual.max()),
            },
        )

    @torch.no_grad()
    def transport(self, patches: Tensor, *, genes: Tensor, mask: Tensor) -> Unbalanced:
        """Plans (parts, patches, sets) of tokens (parts, patches, width) and (parts, sets, width), without gradient."""
        cost = shifted_cost(patches, genes, rows=mask)
        return solve_unbalanced(cost, rows=mask, epsilon=self.options.epsilon, tau=self.options.tau)


def _means(scores: Tensor, *, bag: Tensor) -> Tensor:
    """Mean over the parts of each bag, (parts, outputs) -> (batch, outputs); every bag has a part."""
    parts = bag.bincount()
    return scores.new_zeros(len(parts), scores.shape[1]).index_add(0, bag, scores) / parts[:, None]
