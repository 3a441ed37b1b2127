"""MMP: the bag as a few prototypes, fitted without labels, beside pathway tokens."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Draw, Output, RiskModel
from tta_pipeline.models.dropout import Dropout
from tta_pipeline.models.gene_nets import Genes, PrivateLinear, PrivateNorm
from tta_pipeline.models.layers import attend
from tta_pipeline.models.survpath import PathwayAttention
from tta_pipeline.numerics.mixture import fit_mixture, transported_sums
from tta_pipeline.numerics.prototypes import fit_prototypes
from tta_pipeline.numerics.unbalanced import Unbalanced, shifted_cost, solve_unbalanced


class MMP(RiskModel):
    """Tokens of pathways and prototypes through one attention, a private feed-forward net each, and their means.

    Either modality may be left out, and so may the attention.

    A whole bag is summarised about the prototypes, which `fit_bags` fits to patches of the training patients; no
    gradient reaches the summary, so that it is made once per patient.

    References
    ----------
    Song et al., "Multimodal Prototyping for cancer survival prediction", ICML 2024, section 3.
    Song et al., "Morphological Prototyping", CVPR 2024 (PANTHER), eq. 4 to 6: the mixture.
    """

    centres: Tensor

    def __init__(
        self, options: model_sections.MMP, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        super().__init__()
        self.options, hidden = options, options.hidden_dim
        self.modalities = tuple(sorted(options.modalities))
        counts = {"genomics": len(pathways), "histology": options.prototypes}
        self.counts = [counts[name] for name in self.modalities]
        self.summarises = "histology" in self.modalities
        if self.summarises:
            summary_dim = 2 * feature_dim + 1 if options.summary == "mixture" else feature_dim
            self.register_buffer("centres", torch.full((options.prototypes, feature_dim), torch.nan))
            self.histology = nn.Linear(summary_dim, hidden)
        if "genomics" in self.modalities:
            self.genomics = Genes(pathways, hidden=hidden, out=hidden, dropout=options.dropout)
        self.identity = nn.Parameter(torch.randn(sum(self.counts), options.identity_dim))
        width = hidden + options.identity_dim
        if options.fusion != "none":  # one head, no bias, no projection of what was read: one size for all fusions
            self.norm_in = nn.LayerNorm(width)
            if options.fusion == "partial":
                self.partial = PathwayAttention(width, options.attention_dim)
            else:
                self.query_key_value = nn.Linear(width, 3 * options.attention_dim, bias=False)
            width = options.attention_dim
        self.feed_forward = nn.Sequential(
            PrivateNorm(sum(self.counts), width),
            PrivateLinear(sum(self.counts), width, width),
            nn.GELU(),
            Dropout(options.feed_forward_dropout),
            PrivateLinear(sum(self.counts), width, width),
        )
        self.norm_out = nn.LayerNorm(width)
        vectors = [
            counts[name] if name == "histology" and options.pooling == "concat" else 1 for name in self.modalities
        ]
        self.head = nn.Linear(sum(vectors) * width, outputs, bias=False)

    def fit_bags(self, draw: Draw, *, patient_id: Sequence[str], seed: int) -> None:
        """Prototypes: centres of an equal share of each patient's patches."""
        if "histology" not in self.modalities:
            return
        generator = np.random.default_rng(seed)
        share = max(1, self.options.prototype_patches // len(patient_id))
        patches = np.concatenate([draw(one, count=share, generator=generator) for one in patient_id])
        centres = fit_prototypes(patches, count=self.options.prototypes, seed=seed)
        self.centres.copy_(torch.from_numpy(centres))

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        made = {"genomics": self._pathways, "histology": self._prototypes}
        beside = torch.cat([made[name](batch) for name in self.modalities], dim=1)
        tokens = torch.cat([beside, self.identity.expand(len(beside), -1, -1)], dim=2)  # (batch, tokens, width)
        diagnostics = {}
        if self.options.fusion == "ot":
            tokens, solution = self._exchanged(tokens)
            diagnostics["solver_residual"] = float(solution.residual.max())
        if self.options.fusion != "none":
            tokens = self._attended(self.norm_in(tokens))
        parts = self._parts(self.norm_out(self.feed_forward(tokens)))
        vectors = [self._pooled(part, name) for part, name in zip(parts, self.modalities, strict=True)]
        return Output(scores=self.head(torch.cat(vectors, dim=1)), diagnostics=diagnostics)

    def _pathways(self, batch: Batch) -> Tensor:
        tokens: Tensor = self.genomics(batch.expression)
        return tokens

    def _prototypes(self, batch: Batch) -> Tensor:
        tokens: Tensor = self.histology(batch.features if batch.summarised else self.summarise(batch))
        return tokens

    def _pooled(self, tokens: Tensor, modality: str) -> Tensor:
        """One vector per patient: the mean of a modality's tokens, or all of them."""
        concat = modality == "histology" and self.options.pooling == "concat"
        return tokens.flatten(1) if concat else tokens.mean(dim=1)

    def summarise(self, batch: Batch) -> Tensor:
        """What the prototypes say of each bag, (batch, prototypes, 2 d_in + 1) or (batch, prototypes, d_in)."""
        assert bool(self.centres.isfinite().all()), "prototypes are fitted before the first pass"
        features, mask, options = batch.features, batch.mask, self.options
        if options.summary == "transport":
            return transported_sums(features, mask=mask, centres=self.centres)
        mixture = fit_mixture(
            features,
            mask=mask,
            centres=self.centres,
            prior_strength=options.prior_strength,
            prior_variance=options.prior_variance,
            dtype=torch.float32,
        )
        return torch.cat([mixture.weights[..., None], mixture.means, mixture.variances], dim=2)

    def _parts(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """The tokens of each modality, in the order of `modalities`."""
        return tokens.split(self.counts, dim=1)  # type: ignore[no-any-return,no-untyped-call]

    def _exchanged(self, tokens: Tensor) -> tuple[Tensor, Unbalanced]:
        """Tokens of the other modality, read per pathway and per prototype; a gradient flows through the plan.

        The plan from pathways to histology is the transpose of the plan from histology to pathways.
        """
        genes, histology = self._parts(tokens)
        solution = solve_unbalanced(shifted_cost(histology, genes))  # (batch, prototypes, sets)
        read = [solution.plan.transpose(1, 2) @ histology, solution.plan @ genes]
        return torch.cat(read, dim=1), solution

    def _attended(self, tokens: Tensor) -> Tensor:
        if self.options.fusion == "partial":
            genes, histology = self._parts(tokens)
            every = histology.new_ones(histology.shape[:2], dtype=torch.bool)
            return torch.cat(self.partial(genes, patches=histology, mask=every), dim=1)
        query_key_value = self.query_key_value(tokens)
        if self.options.fusion == "ot":
            return torch.cat([attend(part) for part in self._parts(query_key_value)], dim=1)
        twice = None
        if self.options.preset == "released" and len(self.counts) == 2:
            twice = slice(self.counts[0], None), slice(0, self.counts[0])
        return attend(query_key_value, twice=twice)
