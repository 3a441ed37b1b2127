import numpy as np
import pytest
import torch

from tta_pipeline.errors import InputError
from tta_pipeline.models import scoring
from tta_pipeline.models.batch import Batch, Output, RiskModel

SCALER = {"gene_mean": np.zeros(1, np.float32), "gene_scale": np.ones(1, np.float32)}


class Sum(RiskModel):
    """Sum of a bag plus the first gene; notes the shapes that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, batch: Batch) -> Output:
        assert not self.training
        self.seen.append(tuple(batch.features.shape))
        return Output((batch.features * batch.mask[..., None]).sum(dim=(1, 2)) + batch.expression[:, 0])


def score(model: RiskModel, bags: dict[str, np.ndarray], expression: np.ndarray) -> np.ndarray:
    return scoring.score(
        model,
        bags.__getitem__,
        patient_id=list(bags),
        n_patches=[len(bag) for bag in bags.values()],
        expression=expression,
        scaler=SCALER,
        device=torch.device("cpu"),
    )


def test_risks_come_in_order_from_batches_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_PADDED_PATCHES", 10)
    bags = {f"P{n}": np.full((n, 1), n, dtype=np.float32) for n in (2, 5, 3, 12, 1, 1)}
    bags = {f"{number}": bag for number, bag in enumerate([*bags.values(), np.ones((1, 1), np.float32)])}
    model = Sum()
    found = score(model, bags, np.full((len(bags), 1), 0.5, dtype=np.float32))
    np.testing.assert_allclose(found, [bag.sum() + 0.5 for bag in bags.values()])
    assert [shape[:2] for shape in model.seen] == [(2, 5), (1, 3), (1, 12), (2, 1)]


def test_a_nan_risk_names_its_patient() -> None:
    bags = {"good": np.ones((1, 1), np.float32), "bad": np.ones((1, 1), np.float32)}
    with pytest.raises(InputError, match="1 of 2 patients: bad"):
        score(Sum(), bags, np.array([[0], [np.nan]], dtype=np.float32))


def test_places_are_those_of_the_patient() -> None:
    class Leftmost(RiskModel):
        def forward(self, batch: Batch) -> Output:
            assert batch.places is not None
            return Output(batch.places[..., 1].masked_fill(~batch.mask, torch.inf).amin(dim=1, keepdim=True))

    places = {"A": np.array([[0, 7, 1], [0, 5, 1]], np.float32), "B": np.array([[0, 9, 1]], np.float32)}
    found = scoring.score(
        Leftmost(),
        lambda name: np.ones((len(places[name]), 2), np.float32),
        patient_id=["B", "A"],
        n_patches=[1, 2],
        expression=np.ones((2, 1), np.float32),
        scaler=SCALER,
        device=torch.device("cpu"),
        places=places.__getitem__,
    )
    assert found.tolist() == [[9], [5]]
