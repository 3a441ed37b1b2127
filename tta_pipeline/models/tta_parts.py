"""Parts of TTA: the prototypes with their heads, the transport to them, the fusion of modalities."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline import model_sections
from tta_pipeline.models.dropout import Dropout
from tta_pipeline.models.layers import Block, mean_units
from tta_pipeline.numerics.transport import solve_joint


class Prototypes(nn.Module):
    """Projections to the shared space (per modality and head) and the prototypes in it.

    logits l_ik = <unit(U h_i + u), unit(c_k)> / tau.
    """

    def __init__(self, options: model_sections.TTA, *, modalities: int):
        super().__init__()
        several = options.together and options.consistency_weight > 0
        self.heads = options.heads if several else 1
        self.temperature = options.temperature
        self.projections = nn.ModuleList(
            nn.ModuleList(nn.Linear(options.hidden_dim, options.shared_dim) for _ in range(self.heads))
            for _ in range(modalities)
        )
        banks = modalities if options.sharing == "separate-banks" else 1
        self.bank = nn.Parameter(torch.randn(banks, options.prototypes, options.shared_dim))

    def shared(self, hidden: Tensor, *, modality: int, head: int) -> Tensor:
        """Unit vectors of tokens in the shared space of one head: (batch, tokens, d) -> (batch, tokens, s)."""
        projections = self.projections[modality]
        return F.normalize(projections[head](hidden), dim=-1)  # type: ignore[index]

    def logits(self, shared: Tensor, *, modality: int) -> Tensor:
        """Logits over prototypes of vectors in the shared space: (..., s) -> (..., K)."""
        bank = self.bank[modality % len(self.bank)]  # (K, s)
        return shared @ F.normalize(bank, dim=-1).T / self.temperature

    def view_logits(self, hidden: Tensor, views: Tensor, *, modality: int) -> Tensor:
        """Mean logits of each view under each head: views (batch, 2, tokens) -> (2, H, batch, K).

        Logits are linear in the unit vectors, so these are averaged first: no (batch, tokens, K) per head.
        """
        heads = [cast(nn.Linear, head) for head in cast(nn.ModuleList, self.projections[modality])]
        weight, bias = torch.stack([head.weight for head in heads]), torch.stack([head.bias for head in heads])
        means = mean_units(hidden, weight=weight, bias=bias, views=views)  # (H, batch, 2, s)
        return self.logits(means, modality=modality).permute(2, 0, 1, 3)


class Transporter(nn.Module):
    """Plans of tokens over prototypes by one of the transport modes, jointly or per modality. No gradient."""

    def __init__(self, options: model_sections.TTA):
        super().__init__()
        self.options = options

    @torch.no_grad()
    def forward(
        self, logits: list[Tensor], *, masks: list[Tensor], shared: list[Tensor] | None, rho: float
    ) -> tuple[Sequence[Tensor], dict[str, float]]:
        """Plans Q (batch, tokens, K) per modality, and the solver's rounds and residual."""
        if self.options.transport == "k-means":
            return [_nearest(scores) * mask[..., None] for scores, mask in zip(logits, masks, strict=True)], {}
        if self.options.sharing == "joint":
            plan, diagnostics = self._solve(
                torch.cat(logits, dim=1),
                mask=torch.cat(masks, dim=1),
                shared=torch.cat(shared, dim=1) if shared else None,
                rho=rho,
            )
            return torch.split(plan, [scores.shape[1] for scores in logits], dim=1), diagnostics
        solved = [
            self._solve(logits[i], mask=masks[i], shared=shared[i] if shared else None, rho=rho)
            for i in range(len(logits))
        ]
        worst = {key: max(numbers[key] for _, numbers in solved) for key in solved[0][1]}
        return [plan for plan, _ in solved], worst

    def _solve(
        self, logits: Tensor, *, mask: Tensor, shared: Tensor | None, rho: float
    ) -> tuple[Tensor, dict[str, float]]:
        options = self.options
        mass = {"unbalanced": rho, "fixed": options.rho_fixed, "balanced": 1.0}[options.transport]
        solution = solve_joint(
            -logits.log_softmax(dim=-1),
            mask=mask,
            rho=mass,
            epsilon=options.epsilon,
            gamma=math.inf if options.transport == "balanced" else options.gamma,
            tokens=shared,
            similarity_weight=options.similarity_weight if shared is not None else 0.0,
        )
        return solution.plan, {
            "rho": mass,
            "solver_iterations": float(torch.as_tensor(solution.iterations).max()),
            "solver_residual": float(torch.as_tensor(solution.residual).max()),
        }

    @torch.no_grad()
    def across_patients(self, logits: Tensor) -> Tensor:
        """Plans of patients over prototypes, one small problem per view and head; every patient is assigned.

        Shape (2, heads, patients, K) in and out. Without a sink, rho = 1; the marginal of prototypes as configured.
        """
        problems = logits.flatten(0, 1)  # (2 H, patients, K)
        if self.options.transport == "k-means":
            return _nearest(logits)
        solution = solve_joint(
            -problems.log_softmax(dim=-1),
            mask=problems.new_ones(problems.shape[:2], dtype=torch.bool),
            rho=1.0,
            epsilon=self.options.epsilon,
            gamma=math.inf if self.options.transport == "balanced" else self.options.gamma,
        )
        return solution.plan.view_as(logits)


class Fusion(nn.Module):
    """Tokens of the modalities (omics first) to one vector, in which the log-risk is linear: `risk`, without a bias.

    Every way starts with a LayerNorm of the tokens.

    co-attention: a block over all tokens, then the means of each modality side by side.
    concat, sum, mlp: the means of the normalised tokens side by side, summed, or through a two-layer perceptron.
    """

    def __init__(self, options: model_sections.TTA, *, modalities: int, outputs: int):
        super().__init__()
        dim = options.hidden_dim
        self.kind = options.fusion
        self.twice = options.preset == "released" and modalities == 2
        self.mix: nn.Module = Block(dim, options.dropout) if self.kind == "co-attention" else nn.LayerNorm(dim)
        width = dim if self.kind == "sum" else dim * modalities
        self.hidden: nn.Module = nn.Identity()
        if self.kind == "mlp":
            self.hidden = nn.Sequential(nn.Linear(width, dim), nn.GELU(), Dropout(options.dropout))
            width = dim
        self.risk = nn.Linear(width, outputs, bias=False)

    def forward(self, tokens: list[Tensor]) -> Tensor:
        """Each (batch, K, d) -> (batch, width)."""
        count = tokens[0].shape[1]
        beside = torch.cat(tokens, dim=1)  # (batch, modalities K, d)
        if self.kind == "co-attention":
            # The published code sends the logits of image queries over omics keys through softmax twice.
            block = (slice(count, None), slice(0, count)) if self.twice else None
            mixed = self.mix(beside, twice=block)
        else:
            mixed = self.mix(beside)
        means = mixed.unflatten(1, (len(tokens), count)).mean(dim=2)  # (batch, modalities, d)
        joined = means.sum(dim=1) if self.kind == "sum" else means.flatten(1)  # (batch, d) or (batch, modalities d)
        fused: Tensor = self.hidden(joined)
        return fused


def _nearest(logits: Tensor) -> Tensor:
    return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
