"""Parts of LD-CVAE: normal distributions of a bag's latent, of the genes', of both, and of each gene set's.

References
----------
Zhou et al., "Robust Multimodal Survival Prediction with the Latent Differentiation Conditional Variational
AutoEncoder", CVPR 2025. Wu, Goodman, "Multimodal Generative Models for Scalable Weakly-Supervised Learning", NeurIPS
2018: section 2.2, a product of experts with the prior among them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.gene_nets import PrivateLinear
from tta_pipeline.models.token_blocks import EncoderLayer, blank
from tta_pipeline.models.transmil_body import TransMILBody
from tta_pipeline.numerics.normals import product_of_experts, standard_normal_kl


@dataclass(frozen=True)
class Normal:
    """Independent normal variables: means and variances (..., d)."""

    mean: Tensor
    variance: Tensor

    def drawn(self, *, training: bool) -> Tensor:
        """A sample in training, else the mean."""
        return self.mean + self.variance.sqrt() * torch.randn_like(self.mean) if training else self.mean

    def prior(self) -> Tensor:
        """KL to N(0, 1), mean over the variables: (...)."""
        return standard_normal_kl(self.mean, deviations=self.variance.sqrt()) / self.mean.shape[-1]


class ImagePosterior(nn.Module):
    """The latent of a bag, by the body of TransMIL with a class token for means and one for logarithms of variances."""

    def __init__(self, options: model_sections.LDCVAE, *, feature_dim: int):
        super().__init__()
        missing = -feature_dim % options.heads
        width = feature_dim + missing if options.image_dim is None else options.image_dim
        self.embedding: nn.Module = nn.ZeroPad1d((0, missing))  # on (batch, n, d_in): features of 0 behind the others
        if options.image_dim is not None:
            self.embedding = nn.Sequential(nn.Linear(feature_dim, width), nn.ReLU())
        self.body = TransMILBody(
            width,
            landmarks=options.landmarks,
            heads=options.heads,
            dropout=options.attention_dropout,
            class_tokens=2,
        )
        self.mean, self.log_variance = (nn.Linear(width, options.hidden_dim) for _ in range(2))

    def forward(self, features: Tensor, *, mask: Tensor) -> Normal:
        """(batch, n, d_in) and (batch, n) bool -> (batch, width)."""
        summary, _, _ = self.body(self.embedding(blank(features, mask=mask)), mask=mask)
        for_mean, for_variance = summary.chunk(2, dim=1)
        return Normal(self.mean(for_mean), self.log_variance(for_variance).exp())


class GenePosterior(nn.Module):
    """The latent of the tokens of gene sets, by a Transformer layer with a query for means and one for variances."""

    def __init__(self, options: model_sections.LDCVAE):
        super().__init__()
        width = options.hidden_dim
        self.queries = nn.Parameter(torch.randn(2, width))
        self.layer = EncoderLayer(
            width,
            heads=options.latent_heads,
            hidden=options.encoder_dim,
            dropout=options.block_dropout,
            activation="gelu",
        )

    def forward(self, tokens: Tensor) -> Normal:
        """(batch, sets, width) -> (batch, width)."""
        encoded = self.layer(torch.cat([self.queries.expand(len(tokens), -1, -1), tokens], dim=1))
        return Normal(encoded[:, 0], encoded[:, 1].exp())


def joint(image: Normal, genes: Normal, *, known: Tensor) -> Normal:
    """Product of the latents of bag and genes (batch, d), and of N(0, 1); without genes where `known` (batch,) is not.

    What stands in the latent of unknown genes is not read.
    """
    unknown = ~known[:, None]
    mean = torch.stack([image.mean, genes.mean.masked_fill(unknown, 0.0), torch.zeros_like(image.mean)], dim=1)
    variance = torch.stack(
        [image.variance, genes.variance.masked_fill(unknown, torch.inf), torch.ones_like(image.variance)], dim=1
    )
    return Normal(*product_of_experts(mean, variances=variance, weights=mean.new_ones(3)))


class Differentiation(nn.Module):
    """From the common latent to a latent of each gene set's own, and from that and the bag's to its token."""

    def __init__(self, options: model_sections.LDCVAE, *, sets: int):
        super().__init__()
        width, self.sets = options.hidden_dim, sets
        self.own = PrivateLinear(sets, width, 2 * width)
        self.decoder = nn.Sequential(
            nn.Linear(2 * width, options.decoder_dim), nn.ELU(), nn.Linear(options.decoder_dim, width)
        )

    def forward(self, common: Tensor, *, image: Tensor) -> tuple[Normal, Tensor]:
        """2 x (batch, width) -> latents and tokens of the sets, (batch, sets, width) each."""
        mean, log_variance = self.own(_repeated(common, self.sets)).chunk(2, dim=2)
        own = Normal(mean, log_variance.exp())
        tokens = torch.cat([own.drawn(training=self.training), _repeated(image, self.sets)], dim=2)
        return own, self.decoder(tokens)


def _repeated(vectors: Tensor, count: int) -> Tensor:
    """(batch, width) -> (batch, count, width)."""
    return vectors[:, None].expand(-1, count, -1)
