import numpy as np
import pytest
from sklearn.cluster import kmeans_plusplus
from threadpoolctl import threadpool_limits

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.prototypes import fit_prototypes

PLACES = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [9, 9, 9]], dtype=np.float32)


def tokens(seed: int = 0) -> np.ndarray:
    """Four clusters of 50 tokens, about PLACES."""
    generator = np.random.default_rng(seed)
    return np.repeat(PLACES, 50, axis=0) + generator.standard_normal((200, 3), dtype=np.float32)


def test_centres_are_the_means_of_their_tokens() -> None:
    centres = fit_prototypes(tokens(), count=4, seed=0)
    assert (centres.shape, centres.dtype) == ((4, 3), np.float32)
    nearest = np.linalg.norm(tokens()[:, None] - centres, axis=2).argmin(axis=1)
    for number, centre in enumerate(centres):
        np.testing.assert_allclose(centre, tokens()[nearest == number].mean(axis=0), atol=1e-5)
    found = centres[np.linalg.norm(PLACES[:, None] - centres, axis=2).argmin(axis=1)]
    np.testing.assert_allclose(found, tokens().reshape(4, 50, 3).mean(axis=1), atol=1e-5)


def test_more_restarts_are_no_worse() -> None:
    """Three starts of one round each, against the best that starts alone reach."""

    def spread(centres: np.ndarray) -> float:
        return float(np.square(np.linalg.norm(tokens()[:, None] - centres, axis=2).min(axis=1)).sum())

    start, _ = kmeans_plusplus(tokens(), 9, random_state=0)
    best = spread(fit_prototypes(tokens(), count=9, seed=0, restarts=20))
    assert best <= spread(fit_prototypes(tokens(), count=9, seed=0, restarts=1, rounds=1)) < spread(start)


def test_seed_and_nothing_else_decides() -> None:
    first = fit_prototypes(tokens(), count=9, seed=2**40)
    with threadpool_limits(2):
        again = fit_prototypes(tokens(), count=9, seed=2**40)
    assert first.tobytes() == again.tobytes() != fit_prototypes(tokens(), count=9, seed=1).tobytes()


@pytest.mark.parametrize("copies", [1, 30])
def test_fewer_different_tokens_than_centres(copies: int) -> None:
    with pytest.raises(InputError, match=r"prototypes \(now 5\), found 4\. Lower the model's prototypes"):
        fit_prototypes(np.repeat(PLACES, copies, axis=0), count=5, seed=0)
