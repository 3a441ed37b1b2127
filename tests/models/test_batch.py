import numpy as np
import torch

from tta_pipeline.models.batch import collate

CPU = torch.device("cpu")
SCALER = {"gene_mean": np.array([1.0, 2.0], dtype=np.float32), "gene_scale": np.array([2.0, 4.0], dtype=np.float32)}


def test_bags_are_padded_and_masked_and_genes_standardised() -> None:
    bags = [np.ones((2, 3), dtype=np.float16), np.full((4, 3), 7, dtype=np.float16)]
    expression = np.array([[1, 2], [3, 6]], dtype=np.float32)
    batch = collate(bags, expression, patient_id=["A", "B"], scaler=SCALER, device=CPU)
    assert batch.features.dtype == torch.float32
    assert batch.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.features[0, :2].eq(1).all()
    assert batch.features[1].eq(7).all()
    assert batch.expression.tolist() == [[0, 0], [1, 1]]
    assert batch.patient_id == ("A", "B")
    assert batch.places is None
    assert batch.to(CPU).features.equal(batch.features)


def test_features_of_any_scale_are_standardised_in_single_precision() -> None:
    bag = np.array([[1e6, 1e-3], [3e6, 3e-3]], dtype=np.float32)
    scaler = SCALER | {"feature_mean": bag.mean(0), "feature_scale": bag.std(0)}
    batch = collate([bag], np.ones((1, 2), np.float32), patient_id=["A"], scaler=scaler, device=CPU)
    torch.testing.assert_close(batch.features[0], torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))


def test_places_are_padded_as_the_patches_are() -> None:
    bags = [np.ones((2, 3), dtype=np.float16), np.ones((1, 3), dtype=np.float16)]
    places = [np.array([[0, 70_001, 512], [1, 5, 6]], dtype=np.float32), np.array([[0, 8, 9]], dtype=np.float32)]
    expression = np.ones((2, 2), np.float32)
    batch = collate(bags, expression, patient_id=["A", "B"], scaler=SCALER, device=CPU, places=places)
    assert batch.places is not None
    assert batch.places.dtype == torch.float32
    assert batch.places.tolist() == [[[0, 70_001, 512], [1, 5, 6]], [[0, 8, 9], [0, 0, 0]]]
    moved = batch.to(torch.device("meta")).places
    assert moved is not None
    assert moved.device.type == "meta"
