"""Parts of PIBD: prototypes of outcomes with the selection by them, the bound of information, the shared block.

References
----------
Zhang, Xu et al., "Prototypical Information Bottlenecking and Disentangling for Multimodal Cancer Survival Prediction",
ICLR 2024. Cheng et al., "CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information", ICML 2020.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tta_pipeline.models.blocks import ReLULayer
from tta_pipeline.models.dropout import Dropout
from tta_pipeline.numerics.discrete import discrete_nll
from tta_pipeline.numerics.normals import standard_normal_kl


class Bottleneck(nn.Module):
    """An encoder of tokens, and a normal distribution in its space for each outcome: censored in a bin, then event.

    samples : draws whose mean is taken; in training alone, elsewhere the mean of the distribution stands for it.
    """

    def __init__(self, width_in: int, *, hidden: int, out: int, bins: int, dropout: float, samples: int):
        super().__init__()
        self.encoder = nn.Sequential(
            ReLULayer(width_in, hidden, dropout=dropout),
            ReLULayer(hidden, hidden, dropout=dropout),
            nn.Linear(hidden, out),
        )
        self.means = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2 * bins, out)))
        self.spread = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2 * bins, out)))
        self.classifier = nn.Linear(out, bins)
        self.bins, self.samples = bins, samples

    @property
    def deviations(self) -> Tensor:
        """Standard deviations (prototypes, out), above 0."""
        deviations: Tensor = F.softplus(self.spread)
        return deviations

    def drawn(self) -> Tensor:
        """Mean of the samples of each prototype, (prototypes, out)."""
        return mean_of_samples(self.means, self.deviations, samples=self.samples if self.training else None)

    def likelihood(self, drawn: Tensor, *, censored_weight: float) -> Tensor:
        """Negative log-likelihood of the prototypes' own outcomes, summed over them."""
        kind = torch.arange(2 * self.bins, device=drawn.device)
        time_bin, event = kind % self.bins, kind >= self.bins
        loss = discrete_nll(self.classifier(drawn), time_bin=time_bin, event=event, censored_weight=censored_weight)
        summed: Tensor = loss * len(kind)
        return summed

    def prior(self) -> Tensor:
        """KL of the prototypes against N(0, 1), mean over them."""
        return standard_normal_kl(self.means, deviations=self.deviations).mean()


def mean_of_samples(means: Tensor, deviations: Tensor, *, samples: int | None) -> Tensor:
    """Mean of draws from N(mu, s^2), drawn as what it is, N(mu, s^2 / samples); None: mu."""
    if samples is None:
        return means
    return means + deviations * torch.randn_like(means) / math.sqrt(samples)


@dataclass(frozen=True)
class Selection:
    """What is kept of bags of tokens, by their cosines to the prototypes.

    tokens: (bags, most, d), of the pairs of token and prototype with the largest cosines; a token may come repeatedly.
    mask: (bags, most) bool, which are kept; the first `keep` of a bag.
    kind: (bags,) int64, the most frequent prototype of these pairs.
    nearness: (bags, prototypes), mean of as many largest cosines to each prototype.
    """

    tokens: Tensor
    mask: Tensor
    kind: Tensor
    nearness: Tensor


def select(tokens: Tensor, *, mask: Tensor, prototypes: Tensor, keep: Tensor) -> Selection:
    """Select without labels.

    Parameters
    ----------
    tokens : (bags, tokens, d)
    mask : (bags, tokens) bool
    prototypes : (prototypes, d), directions.
    keep : (bags,) int64, pairs to be kept of each bag: 1 .. its number of tokens.
    """
    count, most = len(prototypes), int(keep.max())
    cosines = F.normalize(tokens, dim=2) @ F.normalize(prototypes, dim=1).T  # (bags, tokens, prototypes)
    cosines = cosines.masked_fill(~mask[..., None], -torch.inf)
    kept = torch.arange(most, device=keep.device) < keep[:, None]  # (bags, most)
    pairs = cosines.detach().flatten(1).topk(most, dim=1).indices
    rows = (pairs // count)[..., None].expand(-1, -1, tokens.shape[2])
    votes = (F.one_hot(pairs % count, count) * kept[..., None]).sum(dim=1)  # (bags, prototypes)
    largest = cosines.topk(most, dim=1).values.masked_fill(~kept[..., None], 0.0)
    nearness = largest.sum(dim=1) / keep[:, None]
    return Selection(tokens=tokens.gather(1, rows), mask=kept, kind=votes.argmax(dim=1), nearness=nearness)


def own_nearness(nearness: Tensor, own: Tensor) -> Tensor:
    """Nearness (bags, prototypes) to a bag's own prototype, less the mean of that to the others: (bags,)."""
    found = nearness.gather(1, own[:, None])[:, 0]
    return found - (nearness.sum(dim=1) - found) / (nearness.shape[1] - 1)


class InformationBound(nn.Module):
    """Upper bound of the information that x holds on y, by an estimate f of y: q(y | x) = N(f(x), 1).

    Vectors lie on a grid (patients, parts); a part of a patient is set against the same part of the other patients.

    joint : one gradient trains f and the vectors by the sum of bound and fit, as released. Else the bound trains the
        vectors and the fit trains f; the bound then stops at 0, below which information is not, for a poor f would let
        the vectors lower it without limit. The published loss has no such stop: there the fit also moves the vectors,
        towards what f makes of them, while the bound falls.
    """

    def __init__(self, width_in: int, *, hidden: int, out: int, joint: bool):
        super().__init__()
        self.estimate = nn.Sequential(nn.Linear(width_in, hidden), nn.ReLU(), nn.Linear(hidden, out))
        self.joint = joint

    def forward(self, x: Tensor, y: Tensor, *, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Bound and fit: means, by `weight`, of the terms of (patients, parts).

        bound_i = mean_j |y_j - f(x_i)|^2 / 2 - |y_i - f(x_i)|^2 / 2, fit_i = |y_i - f(x_i)|^2.

        Parameters
        ----------
        x, y : (patients, parts, width_in) and (patients, parts, out)
        weight : (patients, parts) of sum 1, 0 where a patient has no such part.
        """
        present = (weight > 0).to(y.dtype)[..., None]
        share = present / present.sum(dim=0)  # (patients, parts, 1), of sum 1 over the patients
        if self.joint:
            found = target = self.estimate(x)
            aim = y
        else:
            constants = {name: value.detach() for name, value in self.estimate.named_parameters()}
            found, target = functional_call(self.estimate, constants, (x,)), self.estimate(x.detach())
            aim = y.detach()
        centre = (share * y).sum(dim=0)  # (parts, out)
        scatter = (share * (y - centre).square()).sum(dim=(0, 2))  # (parts,)
        others = (found - centre).square().sum(dim=2) + scatter
        bound = 0.5 * (others - (found - y).square().sum(dim=2))
        fit = (target - aim).square().sum(dim=2)
        information = (weight * bound).sum()
        return information if self.joint else information.clamp_min(0), (weight * fit).sum()


@dataclass(frozen=True)
class Projected:
    """Queries, keys and values (bags, heads, tokens, d / heads) of tokens, and which of these are real."""

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor

    def of(self, bags: Tensor) -> "Projected":
        """Those of some bags, in their order."""
        return Projected(self.query[bags], self.key[bags], self.value[bags], self.mask[bags])


class SharedBlock(nn.Module):
    """Pre-norm attention and perceptron with one set of weights for all streams."""

    def __init__(self, width: int, *, heads: int, dropout: float):
        super().__init__()
        self.norm_in = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Sequential(nn.Linear(width, width), Dropout(dropout))
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(width, width),
            Dropout(dropout),
        )
        self.heads, self.drop_path = heads, dropout

    def project(self, tokens: Tensor, *, mask: Tensor) -> Projected:
        """What the tokens (bags, tokens, width) ask and answer."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.query_key_value(self.norm_in(tokens)).chunk(3, dim=2)
        )
        return Projected(query, key, value, mask)

    def forward(self, tokens: Tensor, *, query: Tensor, context: list[Projected]) -> Tensor:
        """Tokens (bags, tokens, width) after reading the context; its padding is not read."""
        key, value = (torch.cat([getattr(part, name) for part in context], dim=2) for name in ("key", "value"))
        mask = torch.cat([part.mask for part in context], dim=1)[:, None, None]
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=None if bool(mask.all()) else mask)
        attended = self.out(read.transpose(1, 2).flatten(2))
        tokens = tokens + self._kept(attended)
        out: Tensor = tokens + self.perceptron(tokens)
        return out

    def _kept(self, attended: Tensor) -> Tensor:
        """The branch, left out for some bags while training."""
        if not self.training or self.drop_path == 0:
            return attended
        stays = torch.rand(len(attended), 1, 1, device=attended.device) >= self.drop_path
        return attended * stays / (1 - self.drop_path)
