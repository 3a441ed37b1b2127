"""What every model takes and gives: a padded batch of patients in, log-risks and auxiliary losses out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Scaler = Mapping[str, NDArray[np.float32]]


class Draw(Protocol):
    """Patches of a patient as the network will see them, (patches, d_in) float32, scaled where that is on."""

    def __call__(self, patient_id: str, *, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
        """At most `count` patches, drawn without replacement; a shorter bag whole."""


@dataclass(frozen=True)
class Batch:
    """Inputs of some patients.

    features: (batch, patches, d_in) float32, finite; what stands under a False of the mask never changes a result.
    mask: (batch, patches) bool, at least one True in each row.
    expression: (batch, genes) float32, standardised.
    patient_id: names for error messages.
    summarised: features are no patches but what the model's `summarise` made of whole bags, (batch, tokens, width).
    event, time_bin: (batch,) bool and int64 in [0, B), outcomes of training patients, for a model that asks for them by
        `outcome_bins`; None at all other times, so that no risk can be made of them.
    places: (batch, patches, 3) float32, for a model that asks for them by `needs_places`: number of the slide among the
        patient's own, then x and y in a unit of the slide's own; None for all other models. What stands under a False
        of the mask never changes a result.
    """

    features: Tensor
    mask: Tensor
    expression: Tensor
    patient_id: tuple[str, ...] = ()
    summarised: bool = False
    event: Tensor | None = None
    time_bin: Tensor | None = None
    places: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return replace(
            self,
            features=self.features.to(device),
            mask=self.mask.to(device),
            expression=self.expression.to(device),
            event=None if self.event is None else self.event.to(device),
            time_bin=None if self.time_bin is None else self.time_bin.to(device),
            places=None if self.places is None else self.places.to(device),
        )


@dataclass(frozen=True)
class Output:
    """What a model says about a batch.

    scores: (batch, outputs), what the objective makes a risk of: one log-risk (higher is worse), or a logit per bin.
    losses: weighted auxiliary terms, to be added to the loss; empty in evaluation mode.
    diagnostics: numbers for the history (state of a schedule, rounds of a solver).
    """

    scores: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    diagnostics: dict[str, float] = field(default_factory=dict)


class RiskModel(nn.Module):
    """A network: `forward(batch) -> Output`, built as `Model(options, feature_dim=, pathways=, outputs=)`.

    Everything that evaluation needs is a parameter or a buffer, so that `state_dict` holds it.

    modalities: "histology", "genomics": what of a batch the risk depends on.
    summarises: it reads no patches, but what `summarise` makes of each whole bag: once per patient, not in every step.
    outcome_bins: B where training needs the event and time bin of each patient, in B bins; None where it does not.
    needs_places: it reads on which slide each patch is, and where.
    """

    modalities: tuple[str, ...]
    outcome_bins: int | None = None
    summarises: bool = False
    needs_places: bool = False

    def check_patients(self, patient_id: Sequence[str], *, n_patches: Sequence[int]) -> None:
        """Raise InputError, with names, where the model cannot take patients with so many patches in a pass."""

    def fit_bags(self, draw: Draw, *, patient_id: Sequence[str], seed: int) -> None:
        """Fit buffers to bags of the training patients; called once, before the first step.

        What is drawn depends on `seed` alone: torch's own generator is left as it is.
        """

    def summarise(self, batch: Batch) -> Tensor:
        """What is read of the bags of a batch, (batch, tokens, width), each by itself; called after `fit_bags`.

        The patches as they are, for a model that does not say otherwise.
        """
        return batch.features

    def begin_step(self, epoch: float) -> None:
        """Move schedules to a fractional epoch (2.5 is the middle of the third); called before each training step."""

    def end_epoch(self) -> None:
        """Make the choices that are made once per epoch; called after an epoch's last step."""


def collate(
    bags: Sequence[NDArray[np.floating[Any]]],
    expression: NDArray[np.float32],
    *,
    patient_id: Sequence[str],
    scaler: Scaler,
    device: torch.device,
    summarised: bool = False,
    places: Sequence[NDArray[np.float32]] | None = None,
) -> Batch:
    """Pad bags to the longest, move them in their stored type, then scale in float32.

    Parameters
    ----------
    bags
        Per patient (patches, d_in), at least one row each; or summaries, which are not scaled.
    expression
        (batch, genes), not yet standardised.
    scaler
        `gene_mean`, `gene_scale`, and where features are standardised `feature_mean`, `feature_scale`.
    places
        Per patient (patches, 3), as in `Batch`, for a model that needs them.
    """
    lengths = torch.tensor([len(bag) for bag in bags])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (batch, patches)
    features = _padded(bags).to(device).float()
    if "feature_mean" in scaler and not summarised:
        mean = torch.from_numpy(scaler["feature_mean"]).to(device)
        features = (features - mean) / torch.from_numpy(scaler["feature_scale"]).to(device)
    standardised = (expression - scaler["gene_mean"]) / scaler["gene_scale"]
    return Batch(
        features=features,
        mask=mask.to(device),
        expression=torch.from_numpy(standardised.astype(np.float32)).to(device),
        patient_id=tuple(patient_id),
        summarised=summarised,
        places=None if places is None else _padded(places).to(device),
    )


def _padded(bags: Sequence[NDArray[np.floating[Any]]]) -> Tensor:
    """Arrays (patches, d) under each other, (batch, patches, d), with zeros where one is shorter than the longest."""
    longest = max(len(bag) for bag in bags)
    padded = np.zeros((len(bags), longest, bags[0].shape[1]), dtype=np.result_type(*bags))
    for row, bag in zip(padded, bags, strict=True):
        row[: len(bag)] = bag
    return torch.from_numpy(padded)
