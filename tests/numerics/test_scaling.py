import numpy as np
from sklearn.preprocessing import StandardScaler

from tta_pipeline.numerics.scaling import mean_and_scale


def test_chunks_of_very_different_columns_equal_one_pass_in_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((500, 4)) * [1e-3, 1.0, 1e3, 1.0] + [0.0, 1e3, 1e6, -5.0]
    mean, scale = mean_and_scale(np.split(rows.astype(np.float32), [3, 100, 101]))
    reference = StandardScaler().fit(rows.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(mean, reference.mean_, rtol=1e-6)
    np.testing.assert_allclose(scale, reference.scale_, rtol=1e-6)


def test_a_constant_column_has_scale_1() -> None:
    value = np.float32(0.1)
    mean, scale = mean_and_scale([np.full((7, 2), value), np.full((3, 2), value)])
    np.testing.assert_allclose(mean, value)
    assert scale.tolist() == [1.0, 1.0]


def test_half_precision_is_accumulated_in_double() -> None:
    mean, _ = mean_and_scale([np.full((5000, 1), 40.0, dtype=np.float16)])  # the sum exceeds float16
    assert mean.tolist() == [40.0]
