"""PIBD: tokens selected by prototypes of outcomes, and streams for what modalities have alone and in common."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.gene_nets import Genes
from tta_pipeline.models.pibd_parts import (
    Bottleneck,
    InformationBound,
    Selection,
    SharedBlock,
    mean_of_samples,
    own_nearness,
    select,
)
from tta_pipeline.models.token_blocks import masked_mean
from tta_pipeline.numerics.normals import product_of_experts
from tta_pipeline.numerics.partition import partition

_SEED = 0  # of the parts of a bag in evaluation mode


@dataclass(frozen=True)
class _Selected:
    """histology: of each part of each bag, (parts, ..). genes: of each patient. owner: (parts,), the patient's row.

    weight: (patients, parts of a bag), of sum 1 and the same for every patient; 0 where a bag has no such part.
    """

    histology: Selection
    genes: Selection
    owner: Tensor
    weight: Tensor


class PIBD(RiskModel):
    """Prototypical information bottleneck and disentanglement.

    A bag is cut into parts that cover it, at random in training and in a fixed order elsewhere; the published code
    draws eight parts of any bag. In training a patient's own prototype is that of the true outcome, as published,
    elsewhere the one that most of the selected tokens are near to. The head sees that prototype and can learn to read
    the outcome from it: C in training may near 1 where C of other patients is that of a guess (benchmarks/RESULTS.md).

    References
    ----------
    Zhang, Xu et al., "Prototypical Information Bottlenecking and Disentangling for Multimodal Cancer Survival
    Prediction", ICLR 2024, sections 3.2 (bottleneck) and 3.3 (disentanglement).
    """

    modalities = ("genomics", "histology")

    def __init__(
        self, options: model_sections.PIBD, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        super().__init__()
        self.options, self.outcome_bins, width = options, options.bins, options.hidden_dim
        self.genomics = Genes(pathways, hidden=width, out=width, dropout=options.dropout)
        self.histology_bottleneck, self.gene_bottleneck = (
            Bottleneck(
                width_in,
                hidden=options.encoder_dim,
                out=width,
                bins=options.bins,
                dropout=options.encoder_dropout,
                samples=options.samples,
            )
            for width_in in (feature_dim, width)
        )
        self.expertise = nn.Parameter(torch.zeros(2))
        self.block = SharedBlock(width, heads=options.heads, dropout=options.block_dropout)
        self.between, self.to_common = (
            InformationBound(width_in, hidden=options.encoder_dim, out=width, joint=options.preset == "released")
            for width_in in (width, 2 * width)
        )
        self.hidden = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU())
        self.head = nn.Linear(width, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient, the mean over the parts of the bag; in training with five losses."""
        drawn = self.histology_bottleneck.drawn(), self.gene_bottleneck.drawn()
        chosen = self.selected(batch, histology_prototypes=drawn[0], gene_prototypes=drawn[1])
        kinds = [chosen.histology.kind, chosen.genes.kind[chosen.owner]]
        if self.training:
            own = self._own(batch)
            kinds = [own[chosen.owner]] * 2
        streams = self._streams(chosen, joint=self._joint(*kinds))
        part_scores = self.head(self.hidden(torch.cat(streams, dim=1)))  # (parts, outputs)
        weight = chosen.weight[chosen.weight > 0]  # (parts,)
        share = (weight * len(chosen.weight))[:, None]
        scores = part_scores.new_zeros(len(batch.mask), part_scores.shape[1])
        scores = scores.index_add(0, chosen.owner, part_scores * share)
        if not self.training:
            return Output(scores=scores)
        return Output(scores=scores, losses=self._losses(chosen, streams, own=own, drawn=drawn))

    def selected(self, batch: Batch, *, histology_prototypes: Tensor, gene_prototypes: Tensor) -> _Selected:
        """What is kept of the parts of each bag and of the pathways; outcomes are not looked at."""
        options, mask = self.options, batch.mask
        n_parts = -(-mask.sum(dim=1) // options.part_patches)  # (patients,)
        parts = partition(mask, parts=n_parts, seed=None if self.training else _SEED)
        present = torch.arange(int(n_parts.max()), device=mask.device) < n_parts[:, None]
        patches = self.histology_bottleneck.encoder(batch.features)  # (patients, n, width)
        genes = self.gene_bottleneck.encoder(self.genomics(batch.expression))  # (patients, sets, width)
        n_sets = mask.new_full((len(genes),), genes.shape[1], dtype=torch.long)
        return _Selected(
            histology=select(
                patches[parts.bag[:, None], parts.tokens],
                mask=parts.mask,
                prototypes=histology_prototypes,
                keep=(options.kept_patches * parts.mask.sum(dim=1)).long().clamp_min(1),
            ),
            genes=select(
                genes,
                mask=mask.new_ones(genes.shape[:2]),
                prototypes=gene_prototypes,
                keep=(options.kept_pathways * n_sets).long().clamp_min(1),
            ),
            owner=parts.bag,
            weight=present / (present.sum(dim=1, keepdim=True) * len(mask)),
        )

    def _own(self, batch: Batch) -> Tensor:
        """Prototype of the true outcome of each patient."""
        assert batch.event is not None, "a training batch has outcomes"
        assert batch.time_bin is not None, "a training batch has outcomes"
        return batch.time_bin + self.options.bins * batch.event

    def _joint(self, histology: Tensor, genes: Tensor) -> Tensor:
        """Token of the product of two prototypes, (parts, 1, width), from the prototypes' numbers (parts,)."""
        power = 1 if self.options.preset == "released" else 2
        parts = [(self.histology_bottleneck, histology), (self.gene_bottleneck, genes)]
        means = torch.stack([bottleneck.means[kind] for bottleneck, kind in parts], dim=1)  # (parts, 2, width)
        variances = torch.stack([bottleneck.deviations[kind] ** power for bottleneck, kind in parts], dim=1)
        mean, variance = product_of_experts(means, variances=variances, weights=self.expertise.softmax(dim=0))
        samples = self.options.samples if self.training else None
        return mean_of_samples(mean, variance ** (1 / power), samples=samples)[:, None]

    def _streams(self, chosen: _Selected, *, joint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means of histology, genes and what they have in common, (parts, width) each."""
        histology, genes, block = chosen.histology, chosen.genes, self.block
        of_patches = block.project(histology.tokens, mask=histology.mask)
        of_genes = block.project(genes.tokens, mask=genes.mask)
        of_joint = block.project(joint, mask=joint.new_ones(joint.shape[:2], dtype=torch.bool))
        patches = block(histology.tokens, query=of_patches.query, context=[of_patches])
        pathways = block(genes.tokens, query=of_genes.query, context=[of_genes])
        common = block(joint, query=of_joint.query, context=[of_joint, of_patches, of_genes.of(chosen.owner)])
        return masked_mean(patches, mask=histology.mask), pathways.mean(dim=1)[chosen.owner], common[:, 0]

    def _losses(
        self,
        chosen: _Selected,
        streams: tuple[Tensor, Tensor, Tensor],
        *,
        own: Tensor,
        drawn: tuple[Tensor, Tensor],
    ) -> dict[str, Tensor]:
        options, weight = self.options, chosen.weight
        both = (self.histology_bottleneck, self.gene_bottleneck)
        of_parts = own_nearness(chosen.histology.nearness, own[chosen.owner])
        near = (of_parts * weight[weight > 0]).sum() + own_nearness(chosen.genes.nearness, own).mean()
        patches, genes, common = (self._on_grid(stream, weight) for stream in streams)
        bounds = [
            self.between(patches, genes, weight=weight),
            self.to_common(torch.cat([patches, genes], dim=2), common, weight=weight),
        ]
        likelihoods = [
            bottleneck.likelihood(one, censored_weight=options.censored_weight)
            for bottleneck, one in zip(both, drawn, strict=True)
        ]
        losses = {
            "prototype": -options.prototype_weight * near,
            "classification": options.classification_weight * torch.stack(likelihoods).sum(),
            "prior": options.prior_weight * torch.stack([bottleneck.prior() for bottleneck in both]).sum(),
            "information": options.information_weight * (bounds[0][0] + bounds[1][0]),
            "information_fit": options.information_weight * (bounds[0][1] + bounds[1][1]),
        }
        size = len(own) if options.preset == "released" else 1
        return {name: value / size for name, value in losses.items()}

    def _on_grid(self, stream: Tensor, weight: Tensor) -> Tensor:
        """(parts, width) -> (patients, parts of a bag, width), 0 where there is none."""
        grid = stream.new_zeros(*weight.shape, stream.shape[1])
        return grid.masked_scatter((weight > 0)[..., None], stream)
