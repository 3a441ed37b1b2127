"""Patches on a hypergraph, aligned with gene sets; a confidence weighs the modalities."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.dropout import Dropout, dropout
from tta_pipeline.models.gene_nets import Genes
from tta_pipeline.models.sheaf import Hypergraph, SheafConvolution
from tta_pipeline.models.token_blocks import blank, masked_mean
from tta_pipeline.numerics.neighbours import nearest, nearest_in_place

_SUREST = 1e-6  # least -log of a confidence


class Rebalance(nn.Module):
    """Weights of the modalities from how sure each is of itself, and how unsure the other.

    Confidence t_m = sigmoid(net_m(mean token)), share u_m = log t_other / (log t_m + log t_other), weights
    softmax_m(t_m + u_m). The nets of the released code see all 4096 patches side by side; these see the mean.
    """

    def __init__(self, width: int):
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)) for _ in range(2)
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Vectors of two modalities, 2 x (batch, width) -> weights (batch, 2) of sum 1."""
        logits = torch.cat([net(one) for net, one in zip(self.nets, (first, second), strict=True)], dim=1)
        unsure = F.softplus(-logits).clamp_min(_SUREST)  # -log t
        share = unsure.flip(1) / unsure.sum(dim=1, keepdim=True)
        return (logits.sigmoid() + share).softmax(dim=1)


class Read(nn.Module):
    """Attention of queries to other tokens, added to the queries, then LayerNorm."""

    def __init__(self, width: int, *, heads: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, *, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, queries, width); keys and values (batch, tokens, width), read where the mask is True."""
        padding = None if mask is None else ~mask
        read, _ = self.attention(queries, keys, values, key_padding_mask=padding, need_weights=False)
        out: Tensor = self.norm(queries + read)
        return out


class Alignment(nn.Module):
    """Gene sets attend to each other and to patches, patches to gene sets, then gene sets to patches once more.

    The tokens that came in are added to queries and keys of the last attention.
    """

    def __init__(self, options: model_sections.MRePath):
        super().__init__()
        width, hidden = options.hidden_dim, options.feed_forward_dim
        self.among_genes, self.to_patches, self.to_genes, self.last = (
            Read(width, heads=options.heads) for _ in range(4)
        )
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.ReLU6(), nn.Linear(hidden, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, genes: Tensor, *, patches: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, sets, width) and (batch, n, width), 0 on padding -> the same two."""
        aligned = self.among_genes(genes, keys=genes, values=genes)
        aligned = self.to_patches(aligned, keys=patches, values=patches, mask=mask)
        aligned = self.norm(aligned + self.perceptron(aligned))
        read = blank(self.to_genes(patches, keys=aligned, values=aligned), mask=mask)
        return self.last(aligned + genes, keys=read + patches, values=read, mask=mask), read


class MRePath(RiskModel):
    """Hypergraph learning with rebalanced modalities.

    For each patch one hyperedge with the patches of the bag whose features are nearest, and one with those that are
    nearest on its slide. Patches of two slides are never neighbours in space: where a slide is too small for a
    hyperedge, all of its patches are in it, and so are those of a bag that is too small for one by features.
    A slide without coordinates is taken for a row of patches in the order of its file.

    References
    ----------
    Qu et al., "Multimodal Cancer Survival Analysis via Hypergraph Learning with Cross-Modality Rebalance", IJCAI 2025.
    Duta et al., "Sheaf Hypergraph Networks", NeurIPS 2023: the convolutions, with ELU and dropout between them.
    """

    modalities = ("genomics", "histology")
    needs_places = True

    def __init__(
        self, options: model_sections.MRePath, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        super().__init__()
        self.options = options
        width, dropout = options.hidden_dim, options.dropout
        self.patches = nn.Sequential(
            *(nn.Linear(feature_dim, width), nn.ReLU6(), Dropout(dropout)),
            *(nn.Linear(width, width), nn.ReLU6(), Dropout(dropout)),
        )
        self.genes = Genes(pathways, hidden=options.gene_hidden_dim, out=width, dropout=dropout)
        self.convolutions = nn.ModuleList(SheafConvolution(width) for _ in range(options.convolutions))
        if options.rebalance:
            self.rebalance = Rebalance(width)
        self.alignment = Alignment(options)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(width, width),
            nn.LayerNorm(width),
        )
        self.hidden = nn.Sequential(nn.Linear(2 * width, options.head_dim), nn.ReLU())
        self.head = nn.Linear(options.head_dim, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        mask, genes, patches = batch.mask, self.genes(batch.expression), self.diffused(batch)
        if self.options.rebalance:
            weights = self.rebalance(genes.mean(dim=1), masked_mean(patches, mask=mask))
            genes, patches = genes * weights[:, :1, None], patches * weights[:, 1:, None]
        genes, patches = self.alignment(genes, patches=patches, mask=mask)
        genomics, histology = masked_mean(self.feed_forward(genes)), masked_mean(self.feed_forward(patches), mask=mask)
        return Output(scores=self.head(self.hidden(torch.cat([genomics, histology], dim=1))))

    def diffused(self, batch: Batch) -> Tensor:
        """Patches (batch, n, width) after the convolutions, 0 on padding."""
        mask = batch.mask
        hidden = self.patches(batch.features[mask])  # (patches of all bags, width)
        if len(self.convolutions):
            graph = self.hypergraph(batch)
        for number, convolution in enumerate(self.convolutions):
            if number:
                hidden = dropout(F.elu(hidden), self.options.dropout, training=self.training)
            hidden = convolution(hidden, graph)
        out: Tensor = hidden.new_zeros(*mask.shape, hidden.shape[1])
        out[mask] = hidden
        return out

    def hypergraph(self, batch: Batch) -> Hypergraph:
        """Hyperedges of the real patches of all bags, one after another: by features, then in space."""
        mask, count = batch.mask, self.options.neighbours
        number = (mask.flatten().cumsum(dim=0) - 1).view(mask.shape)  # of a patch among those of all bags
        members, valid = [], []
        for kind in self.options.neighbourhoods:
            if kind == "features":
                found, there = nearest(batch.features, mask=mask, count=count)
            else:
                assert batch.places is not None
                found, there = nearest_in_place(batch.places, mask=mask, count=count)
            own = number.gather(1, found.flatten(1)).view(found.shape)[mask]  # (patches of all bags, members)
            missing = 1 + count - own.shape[1]
            members.append(F.pad(own, (0, missing)))
            valid.append(F.pad(there[mask], (0, missing)))
        return Hypergraph.of(torch.cat(members), valid=torch.cat(valid), nodes=int(mask.sum()))
