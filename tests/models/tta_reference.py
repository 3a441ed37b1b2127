"""TTA's forward pass of one patient in float64 NumPy, written from the paper: weights are taken by their names.

The order of evaluation is that of the text, a loop where the text has an index; nothing is shared with the package
but the configuration of a model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, log_softmax, softmax

from tests.numerics.transport_reference import Bag, newton
from tta_pipeline.config import TTA as Options  # noqa: N811

Array = NDArray[np.float64]


class Reference:
    """The network without dropout; `weights` is a state dict, `rho` the transported mass."""

    def __init__(
        self, options: Options, weights: Mapping[str, Any], *, pathways: Sequence[NDArray[np.int64]], rho: float
    ) -> None:
        self.options, self.rho, self.pathways = options, rho, pathways
        self.weights = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}
        self.order = [name for name in ("genomics", "histology") if name in options.modalities]
        self.heads = [int(head) for head in self.weights["working_heads"]]

    def stages(self, patches: Array, expression: Array) -> dict[str, Any]:
        """Every stage of one patient: patches (n, d_in), expression (genes,)."""
        tokens = [
            self.pathway_tokens(expression) if one == "genomics" else self.patch_tokens(patches) for one in self.order
        ]
        logits = [self.logits(one, modality=i, head=self.heads[i]) for i, one in enumerate(tokens)]
        plan = self.plan(tokens, logits)
        plans = np.split(plan, np.cumsum([len(one) for one in tokens])[:-1])
        pooled = [self.pooled(*parts) for parts in zip(tokens, logits, plans, strict=True)]
        refined = [self.refined(one, modality=i) for i, one in enumerate(pooled)]
        fused = self.fused(refined)
        return {
            "tokens": tokens,
            "logits": logits,
            "plans": plans,
            "pooled": pooled,
            "refined": refined,
            "fused": fused,
            "log_risk": float(self.weights["fusion.risk.weight"][0] @ fused),
        }

    def patch_tokens(self, patches: Array) -> Array:
        return np.stack([self._leaky(self._linear("encoders.histology", patch)) for patch in patches])

    def pathway_tokens(self, expression: Array) -> Array:
        weight, bias = self.weights["encoders.genomics.weight"], self.weights["encoders.genomics.bias"]
        tokens, first = [], 0
        for pathway, genes in enumerate(self.pathways):
            own = weight[first : first + len(genes)]  # (genes of the set, d)
            tokens.append(self._leaky(expression[genes] @ own + bias[pathway]))
            first += len(genes)
        return np.stack(tokens)

    def shared(self, tokens: Array, *, modality: int, head: int) -> Array:
        return np.stack([_unit(self._linear(f"prototypes.projections.{modality}.{head}", one)) for one in tokens])

    def logits(self, tokens: Array, *, modality: int, head: int) -> Array:
        bank = np.stack([_unit(one) for one in self.weights["prototypes.bank"][0]])
        return self.shared(tokens, modality=modality, head=head) @ bank.T / self.options.temperature

    def plan(self, tokens: list[Array], logits: list[Array]) -> Array:
        """Q = N P of the joint problem: convex problems, each with the tangent at the plan before, until none moves."""
        features = np.concatenate([self.shared(one, modality=i, head=0) for i, one in enumerate(tokens)])
        cost = -log_softmax(np.concatenate(logits), axis=1)
        count, prototypes = cost.shape
        bag = Bag(
            cost=cost,
            rho=self.rho,
            epsilon=self.options.epsilon,
            gamma=self.options.gamma,
            features=features,
            similarity_weight=self.options.similarity_weight,
        )
        plan = np.full_like(cost, self.rho / prototypes / count)
        for _ in range(100):
            before, plan = plan, newton(bag, bag.linearised(plan))
            if np.abs(plan - before).max() < 1e-10 / count:
                return count * plan
        raise AssertionError("the similarity term did not settle")

    def pooled(self, tokens: Array, logits: Array, plan: Array) -> Array:
        beta = self.options.transport_weight
        weights = (1 - beta) * softmax(logits, axis=1) + beta * plan
        weights /= weights.sum(axis=1, keepdims=True)
        return np.stack([sum(weights[i, k] * tokens[i] for i in range(len(tokens))) for k in range(weights.shape[1])])

    def refined(self, pooled: Array, *, modality: int) -> Array:
        beside = np.vstack([pooled, self.weights["anchors"][modality]])
        return self._block(f"refiners.{modality}", beside)[:-1]

    def fused(self, refined: list[Array]) -> Array:
        count = len(refined[0])
        queries = slice(count, None) if self.options.preset == "released" and len(refined) == 2 else None
        mixed = self._block("fusion.mix", np.vstack(refined), twice=(queries, slice(0, count)) if queries else None)
        return np.concatenate([mixed[i * count : (i + 1) * count].mean(axis=0) for i in range(len(refined))])

    def assignment(self, logits: Array, plan: Array) -> float:
        """Of one patient and modality, before its weight."""
        rows = plan / plan.sum(axis=1, keepdims=True)
        return float(-(rows * log_softmax(logits, axis=1)).sum(axis=1).mean())

    def contrast(self, refined: Array, *, modality: int) -> float:
        """Of one patient and modality, before its weight."""
        summary = self._linear("summary.2", _gelu(self._linear("summary.0", refined.mean(axis=0))))
        cosines = np.array([_unit(summary) @ _unit(anchor) for anchor in self.weights["anchors"]])
        return float(-log_softmax(cosines / self.options.contrast_temperature)[modality])

    def consistency(self, tokens: list[Array], views: Array, *, modality: int) -> float:
        """Of one modality, mean over heads, before its weight: tokens per patient, views (patients, 2, tokens)."""
        losses = []
        for head in range(self.options.heads):
            logits = np.zeros((2, len(tokens), self.options.prototypes))
            for view in range(2):
                for patient, own in enumerate(tokens):
                    inside = views[patient, view, : len(own)] > 0
                    logits[view, patient] = self.logits(own[inside], modality=modality, head=head).mean(axis=0)
            for view in range(2):
                plan = newton(Bag(cost=-log_softmax(logits[1 - view], axis=1), rho=1.0, epsilon=self.options.epsilon))
                target = plan / plan.sum(axis=1, keepdims=True)
                losses.append(-(target * log_softmax(logits[view], axis=1)).sum(axis=1).mean())
        return float(np.mean(losses))

    def _block(self, name: str, tokens: Array, *, twice: tuple[slice, slice] | None = None) -> Array:
        normed = np.stack([self._norm(f"{name}.norm_in", one) for one in tokens])
        query, key, value = np.split(normed @ self.weights[f"{name}.attention.query_key_value.weight"].T, 3, axis=1)
        logits = query @ key.T / np.sqrt(query.shape[1])
        if twice is not None:
            logits[twice] = softmax(logits[twice], axis=1)
        mixed = softmax(logits, axis=1) @ value
        rows = []
        for one in mixed:
            row = self._norm(f"{name}.feed_forward.0", self._linear(f"{name}.attention.out", one))
            row = self._linear(f"{name}.feed_forward.4", _gelu(self._linear(f"{name}.feed_forward.1", row)))
            rows.append(self._norm(f"{name}.norm_out", row))
        return np.stack(rows)

    def _linear(self, name: str, vector: Array) -> Array:
        return self.weights[f"{name}.weight"] @ vector + self.weights[f"{name}.bias"]

    def _norm(self, name: str, vector: Array) -> Array:
        scaled = (vector - vector.mean()) / np.sqrt(vector.var() + 1e-5)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _leaky(self, vector: Array) -> Array:
        return np.where(vector > 0, vector, self.options.negative_slope * vector)


def _unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def _gelu(vector: Array) -> Array:
    return 0.5 * vector * (1 + erf(vector / np.sqrt(2)))
