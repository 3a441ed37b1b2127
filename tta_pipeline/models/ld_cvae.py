"""MCAT on gene tokens that are rebuilt from patches, and from genes where they are known."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.ld_cvae_parts import Differentiation, GenePosterior, ImagePosterior, Normal, joint
from tta_pipeline.models.mcat import MCAT
from tta_pipeline.numerics.discrete import discrete_nll


class LDCVAE(RiskModel):
    """Latent Differentiation Conditional Variational AutoEncoder, for patients whose genes may be missing.

    MCAT trains with true gene tokens in the first epochs, of patients whose genes are not withheld. Later, and in
    evaluation, it is given rebuilt ones; the nets that make true tokens then stay as they are, since the autoencoder
    sends no gradient to them. Latents are drawn in training alone, elsewhere their means stand for them. The order of
    patches in the bag matters, as it does to TransMIL.

    One decoder serves all gene sets, each of which has a latent of its own. The agreement draws the latent of genes to
    that of the bag: a risk in genes of which the patches know nothing can be lost from the rebuilt tokens.

    References
    ----------
    Zhou et al., "Robust Multimodal Survival Prediction with the Latent Differentiation Conditional Variational
    AutoEncoder", CVPR 2025.
    """

    def __init__(
        self, options: model_sections.LDCVAE, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        super().__init__()
        self.options, self.outcome_bins, self.epoch = options, options.bins, 0.0
        self.modalities = ("genomics", "histology") if options.genes_at_test else ("histology",)
        self.body = MCAT(options, feature_dim=feature_dim, pathways=pathways, outputs=outputs)
        self.image = ImagePosterior(options, feature_dim=feature_dim)
        self.genomics = GenePosterior(options)
        self.differentiation = Differentiation(options, sets=len(pathways))
        self.classifier = nn.Linear(options.hidden_dim, options.bins)

    def begin_step(self, epoch: float) -> None:
        """Set which tokens are given to MCAT, and the weight of the prior."""
        self.epoch = epoch

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient; in training with four losses."""
        known, tokens = self._known(batch), self.body.genes(batch.expression)  # (batch,), (batch, sets, width)
        image, genes = self.image(batch.features, mask=batch.mask), self.genomics(tokens.detach())
        both, drawn = joint(image, genes, known=known), image.drawn(training=self.training)
        own, rebuilt = self.differentiation(both.drawn(training=self.training), image=drawn)
        given = rebuilt
        if self.training and self.epoch < self.options.true_epochs:
            given = torch.where(known[:, None, None], tokens, rebuilt)
        scores = self.body.scores(batch, genes=given)
        if not self.training:
            return Output(scores=scores)
        errors = (rebuilt - tokens.detach()).square().mean(dim=(1, 2))  # (batch,)
        losses = {
            "reconstruction": self.options.reconstruction_weight * _mean(errors, known),
            "image": self.options.image_weight * self._likelihood(drawn, batch),
            "agreement": self.options.agreement_weight * _mean(_difference(image, genes), known),
            "prior": self._prior_weight() * (_mean(genes.prior(), known) + _sum_of_means(image, both, own)),
        }
        return Output(scores=scores, losses=losses)

    def _known(self, batch: Batch) -> Tensor:
        """Whose genes are used, (batch,) bool."""
        if self.training:
            return torch.rand(len(batch.mask), device=batch.mask.device) >= self.options.missing_rate
        return batch.mask.new_full((len(batch.mask),), self.options.genes_at_test)

    def _prior_weight(self) -> float:
        return self.options.prior_weight * min(1.0, self.epoch / self.options.prior_epochs)

    def _likelihood(self, drawn: Tensor, batch: Batch) -> Tensor:
        """Negative log-likelihood of the outcomes by the latent of the bag alone."""
        assert batch.event is not None, "a training batch has outcomes"
        assert batch.time_bin is not None, "a training batch has outcomes"
        weight = self.options.censored_weight
        return discrete_nll(self.classifier(drawn), time_bin=batch.time_bin, event=batch.event, censored_weight=weight)


def _difference(image: Normal, genes: Normal) -> Tensor:
    """Squared differences of means and absolute ones of variances, mean over the variables: (batch,)."""
    of_means = (genes.mean - image.mean).square().mean(dim=1)
    return of_means + (genes.variance - image.variance).abs().mean(dim=1)


def _sum_of_means(*latents: Normal) -> Tensor:
    """Sum over latents of their mean KL to N(0, 1)."""
    return torch.stack([latent.prior().mean() for latent in latents]).sum()


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """Mean of values (batch,) over the patients whose genes are known; 0, for want of any, where nobody's are."""
    return values.where(known, 0.0).sum() / known.sum().clamp_min(1)
