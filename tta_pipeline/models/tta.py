"""The TTA model, "Together, Then Apart" (Liu, Ren, Zhang, Lin, You, arXiv 2511.18089).

Together: the tokens of both modalities are transported to one bank of prototypes, and pooled by the plan.
Apart: an anchor per modality, refined with the pooled tokens, keeps the modalities distinct. Then fusion and risk.
Symbols in comments: K prototypes, d = hidden_dim, s = shared_dim, H heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline import model_sections
from tta_pipeline.errors import DivergedError, InputError
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.dropout import dropout
from tta_pipeline.models.layers import Block, PathwayLinear
from tta_pipeline.models.tta_parts import Fusion, Prototypes, Transporter
from tta_pipeline.numerics import alignment

ORDER = ("genomics", "histology")


@dataclass(frozen=True)
class Stages:
    """What one pass makes, stage by stage; lists hold one tensor per modality, omics first.

    tokens: each (batch, tokens, d). masks: each (batch, tokens) bool.
    logits: each (batch, tokens, K), of the working head.
    plans: each (batch, tokens, K), Q = N P without gradient, or None where pooling is softmax alone.
    pooled: each (batch, K, d).
    refined: each (batch, K, d); `pooled` again without anchors.
    fused: (batch, width), what the scores are linear in.
    scores: (batch, outputs).
    diagnostics: numbers for the history.
    """

    tokens: list[Tensor]
    masks: list[Tensor]
    logits: list[Tensor]
    plans: Sequence[Tensor | None]
    pooled: list[Tensor]
    refined: list[Tensor]
    fused: Tensor
    scores: Tensor
    diagnostics: dict[str, float]


class TTA(RiskModel):
    """Log-risk from patches and pathways; `options` spans the paper's model and its ablations.

    Buffers hold what evaluation needs beside the weights: `rho`, the transported mass that training reached,
    and `working_heads`, one per modality.
    """

    rho: Tensor
    steps: Tensor
    working_heads: Tensor
    head_loss: Tensor

    def __init__(
        self, options: model_sections.TTA, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        super().__init__()
        self.options = options
        self.modalities = tuple(name for name in ORDER if name in options.modalities)
        dim, count = options.hidden_dim, len(self.modalities)
        self.encoders = nn.ModuleDict()
        if "genomics" in self.modalities:
            self.encoders["genomics"] = PathwayLinear(pathways, dim)
        if "histology" in self.modalities:
            self.encoders["histology"] = nn.Linear(feature_dim, dim)
        self.prototypes = Prototypes(options, modalities=count)
        self.transporter = Transporter(options)
        self.refiners = nn.ModuleList()
        if options.anchors:
            self.refiners.extend(Block(dim, options.dropout) for _ in self.modalities)
            self.anchors = nn.Parameter(torch.randn(count, dim))
        if self._contrasts:
            self.summary = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.fusion = Fusion(options, modalities=count, outputs=outputs)
        self.register_buffer("rho", torch.tensor(self._rho_at(0.0)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("working_heads", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("head_loss", torch.zeros(count, self.prototypes.heads), persistent=False)
        self.n_sets = len(pathways)

    @property
    def _contrasts(self) -> bool:
        return self.options.anchors and self.options.contrast_weight > 0 and len(self.modalities) == 2

    def _rho_at(self, epoch: float) -> float:
        options = self.options
        return alignment.rho_at(
            epoch, start=options.rho_start, epochs=options.rho_epochs, sharpness=options.rho_sharpness
        )

    def check_patients(self, patient_id: Sequence[str], *, n_patches: Sequence[int]) -> None:
        """Refuse a patient without a patch, or with fewer tokens than there are prototypes to transport them to."""
        patches = np.asarray(n_patches)
        if "histology" in self.modalities:
            _refuse(patches < 1, patient_id, expected="at least one valid patch per patient", found="none")
        if not len(patches) or not self.options.together or self.options.transport == "k-means":
            return
        sets = np.full_like(patches, self.n_sets)
        tokens = np.stack([patches if name == "histology" else sets for name in self.modalities])
        tokens = tokens.sum(axis=0) if self.options.sharing == "joint" else tokens.min(axis=0)  # (patients,)
        _refuse(
            tokens < self.options.prototypes,
            patient_id,
            expected=f"at least as many tokens to transport as prototypes (now {self.options.prototypes})",
            found=f"fewer (down to {tokens.min()})",
            remedy="Lower the model's prototypes, or leave these patients out.",
        )

    def begin_step(self, epoch: float) -> None:
        """Set the transported mass of this step, and count it."""
        self.rho.fill_(self._rho_at(epoch))
        self.steps += 1

    def end_epoch(self) -> None:
        """Give each modality the head with the lowest multi-head loss of the epoch."""
        if self.head_loss.any():
            self.working_heads.copy_(self.head_loss.argmin(dim=1))
            self.head_loss.zero_()

    def forward(self, batch: Batch) -> Output:
        """Log-risk of each patient; auxiliary losses in training mode.

        Raises
        ------
        InputError
            A patient has no token, or fewer tokens than there are prototypes to transport them to.
        DivergedError
            A patient has logits that are not finite.
        """
        stages = self.stages(batch)
        losses = self.losses(stages) if self.training else {}
        return Output(scores=stages.scores, losses=losses, diagnostics=stages.diagnostics)

    def stages(self, batch: Batch) -> Stages:
        """Every stage from tokens to log-risk, for whoever compares them with another implementation."""
        self.check_patients(batch.patient_id, n_patches=batch.mask.sum(dim=1).tolist())
        masks = [self._mask(name, batch) for name in self.modalities]
        tokens = [self._tokens(name, batch) for name in self.modalities]
        heads = self.working_heads.tolist()
        shared = [self.prototypes.shared(one, modality=i, head=heads[i]) for i, one in enumerate(tokens)]
        logits = [self.prototypes.logits(one, modality=i) for i, one in enumerate(shared)]
        _check_finite(logits, batch.patient_id)
        plans, diagnostics = self._plans(logits, tokens=tokens, shared=shared, masks=masks)
        pooled = [
            self._pool(hidden, scores, plan, mask)
            for hidden, scores, plan, mask in zip(tokens, logits, plans, masks, strict=True)
        ]
        refined = self._refine(pooled)
        fused = self.fusion(refined if self.options.replace_tokens else pooled)
        if self.prototypes.heads > 1:
            diagnostics |= {f"working_head_{name}": heads[i] for i, name in enumerate(self.modalities)}
        return Stages(
            tokens=tokens,
            masks=masks,
            logits=logits,
            plans=plans,
            pooled=pooled,
            refined=refined,
            fused=fused,
            scores=self.fusion.risk(fused),
            diagnostics=diagnostics,
        )

    def _tokens(self, name: str, batch: Batch) -> Tensor:
        raw = batch.features if name == "histology" else batch.expression
        hidden = F.leaky_relu(self.encoders[name](raw), self.options.negative_slope)
        return dropout(hidden, self.options.dropout, training=self.training)

    def _mask(self, name: str, batch: Batch) -> Tensor:
        return batch.mask if name == "histology" else batch.mask.new_ones(len(batch.expression), self.n_sets)

    def _plans(
        self, logits: list[Tensor], *, tokens: list[Tensor], shared: list[Tensor], masks: list[Tensor]
    ) -> tuple[Sequence[Tensor | None], dict[str, float]]:
        if not self.options.together:
            return [None] * len(logits), {}
        similar = None  # unit vectors under head 0, whichever head works
        if self.options.similarity_weight > 0 and self.options.transport != "k-means":
            with torch.no_grad():
                similar = [
                    self.prototypes.shared(hidden, modality=i, head=0) if head else shared[i].detach()
                    for i, (hidden, head) in enumerate(zip(tokens, self.working_heads.tolist(), strict=True))
                ]
        at_step_0 = self.options.preset == "released" and not self.training
        rho = self._rho_at(0.0) if at_step_0 else float(self.rho)
        plans, diagnostics = self.transporter(logits, masks=masks, shared=similar, rho=rho)
        return plans, diagnostics

    def _pool(self, hidden: Tensor, logits: Tensor, plan: Tensor | None, mask: Tensor) -> Tensor:
        weights = alignment.pooling_weights(
            logits, plan, mask=mask, plan_weight=self.options.transport_weight
        )  # (batch, tokens, K)
        hidden = hidden.masked_fill(~mask[..., None], 0.0)
        return weights.transpose(1, 2) @ hidden  # (batch, K, d)

    def _refine(self, pooled: list[Tensor]) -> list[Tensor]:
        if not self.options.anchors:
            return pooled
        refined = []
        for tokens, anchor, refiner in zip(pooled, self.anchors, self.refiners, strict=True):
            beside = torch.cat([tokens, anchor.expand(len(tokens), 1, -1)], dim=1)  # (batch, K + 1, d)
            refined.append(refiner(beside)[:, :-1])
        return refined

    def losses(self, stages: Stages) -> dict[str, Tensor]:
        """Weighted auxiliary terms, by name; the multi-head one draws its views from torch's generator."""
        options, losses = self.options, {}
        consistent = self.prototypes.heads > 1 and int(self.steps) % options.consistency_every == 0
        for index, name in enumerate(self.modalities):
            plan = stages.plans[index]
            if plan is not None and options.assignment_weight > 0:
                loss = alignment.assignment_loss(stages.logits[index], plan, mask=stages.masks[index])
                losses[f"assignment_{name}"] = options.assignment_weight * loss
            if self._contrasts:
                summary = self.summary(stages.refined[index].mean(dim=1))  # (batch, d)
                loss = alignment.contrast_loss(
                    summary, self.anchors, own=index, temperature=options.contrast_temperature
                )
                losses[f"contrast_{name}"] = options.contrast_weight * loss
            if consistent:
                loss = self._consistency(index, stages.tokens[index], stages.masks[index])
                losses[f"consistency_{name}"] = options.consistency_weight * loss
        return losses

    def _consistency(self, modality: int, hidden: Tensor, mask: Tensor) -> Tensor:
        views = alignment.two_views(
            mask, fraction=self.options.view_fraction, overlap=self.options.view_overlap
        )  # (batch, 2, tokens)
        logits = self.prototypes.view_logits(hidden, views, modality=modality)  # (2, H, batch, K)
        plans = self.transporter.across_patients(logits)
        per_head = alignment.consistency_loss(logits, plans)  # (H,)
        self.head_loss[modality] += per_head.detach()
        return per_head.mean()


def _check_finite(logits: list[Tensor], patient_id: Sequence[str]) -> None:
    finite = torch.stack([scores.flatten(1).sum(dim=1) for scores in logits]).isfinite().all(dim=0)  # (batch,)
    _refuse(
        ~finite.cpu().numpy(),
        patient_id,
        expected="finite prototype logits",
        found="NaN or infinity",
        error=DivergedError,
        remedy="Check their features and expression; set train.standardise_features, or lower the learning rate.",
    )


def _refuse(
    bad: NDArray[np.bool_],
    patient_id: Sequence[str],
    *,
    expected: str,
    found: str,
    error: type[InputError] = InputError,
    remedy: str = "Leave them out.",
) -> None:
    if bad.any():
        rows = np.flatnonzero(bad).tolist()
        named = ", ".join(patient_id[row] if patient_id else f"row {row}" for row in rows[:5])
        raise error(f"expected {expected}, found {found} for {len(rows)} of {len(bad)} patients: {named}. {remedy}")
