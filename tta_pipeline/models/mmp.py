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
from tta_pipeline.numerics.mixture import fit_mixture, transported_sums
from tta_pipeline.numerics.prototypes import fit_prototypes
from tta_pipeline.numerics.unbalanced import Unbalanced, shifted_cost, solve_unbalanced


class MMP(RiskModel):
    """Tokens of pathways and prototypes through one attention, a private feed-forward net each, and their means.

    A bag is summarised about the prototypes, which `fit_bags` fits to patches of the training patients; no gradient
    reaches the summary.

    References
    ----------
    Song et al., "Multimodal Prototyping for cancer survival prediction", ICML 2024, section 3.
    Song et al., "Morphological Prototyping", CVPR 2024 (PANTHER), eq. 4 to 6: the mixture.
    """

    modalities = ("genomics", "histology")
    centres: Tensor

    def __init__(
        self, options: model_sections.MMP, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        super().__init__()
        self.options, self.n_sets = options, len(pathways)
        hidden, width, tokens = options.hidden_dim, options.attention_dim, len(pathways) + options.prototypes
        summary_dim = 2 * feature_dim + 1 if options.summary == "mixture" else feature_dim
        self.register_buffer("centres", torch.full((options.prototypes, feature_dim), torch.nan))
        self.histology = nn.Linear(summary_dim, hidden)
        self.genomics = Genes(pathways, hidden=hidden, out=hidden, dropout=options.dropout)
        self.identity = nn.Parameter(torch.randn(tokens, options.identity_dim))
        self.norm_in = nn.LayerNorm(hidden + options.identity_dim)
        self.query_key_value = nn.Linear(hidden + options.identity_dim, 3 * width, bias=False)
        self.feed_forward = nn.Sequential(
            PrivateNorm(tokens, width),
            PrivateLinear(tokens, width, width),
            nn.GELU(),
            Dropout(options.feed_forward_dropout),
            PrivateLinear(tokens, width, width),
        )
        self.norm_out = nn.LayerNorm(width)
        self.head = nn.Linear(2 * width, outputs, bias=False)

    def fit_bags(self, draw: Draw, *, patient_id: Sequence[str], seed: int) -> None:
        """Prototypes: centres of an equal share of each patient's patches."""
        generator = np.random.default_rng(seed)
        share = max(1, self.options.prototype_patches // len(patient_id))
        patches = np.concatenate([draw(one, count=share, generator=generator) for one in patient_id])
        centres = fit_prototypes(patches, count=self.options.prototypes, seed=seed)
        self.centres.copy_(torch.from_numpy(centres))

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        beside = [self.genomics(batch.expression), self.histology(self.summary(batch))]
        identity = self.identity.expand(len(batch.mask), -1, -1)
        tokens = torch.cat([torch.cat(beside, dim=1), identity], dim=2)  # (batch, sets + prototypes, width)
        diagnostics = {}
        if self.options.fusion == "ot":
            tokens, solution = self._exchanged(tokens)
            diagnostics["solver_residual"] = float(solution.residual.max())
        hidden = self.norm_out(self.feed_forward(self._attended(self.norm_in(tokens))))
        means = [part.mean(dim=1) for part in self._parts(hidden)]
        return Output(scores=self.head(torch.cat(means, dim=1)), diagnostics=diagnostics)

    def summary(self, batch: Batch) -> Tensor:
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

    def _parts(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return tokens[:, : self.n_sets], tokens[:, self.n_sets :]

    def _exchanged(self, tokens: Tensor) -> tuple[Tensor, Unbalanced]:
        """Tokens of the other modality, read per pathway and per prototype; a gradient flows through the plan.

        The plan from pathways to histology is the transpose of the plan from histology to pathways.
        """
        genes, histology = self._parts(tokens)
        solution = solve_unbalanced(shifted_cost(histology, genes))  # (batch, prototypes, sets)
        read = [solution.plan.transpose(1, 2) @ histology, solution.plan @ genes]
        return torch.cat(read, dim=1), solution

    def _attended(self, tokens: Tensor) -> Tensor:
        query_key_value = self.query_key_value(tokens)
        if self.options.fusion == "ot":
            return torch.cat([attend(part) for part in self._parts(query_key_value)], dim=1)
        genes = slice(0, self.n_sets)
        twice = (slice(self.n_sets, None), genes) if self.options.preset == "released" else None
        return attend(query_key_value, twice=twice)
