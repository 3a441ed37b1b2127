import numpy as np

from tta_pipeline.numerics.forest import Forest, step_survival

# Two trees. The first splits on feature 1 at 0.5: its left leaf (node 1) has one event of four at day 10 and two of the
# three left at day 30; nobody dies in its right leaf (node 2). The second is one leaf (node 3): one of two at day 20.
FOREST = Forest(
    roots=np.array([0, 3]),
    left=np.array([1, -1, -1, -1]),
    right=np.array([2, -1, -1, -1]),
    feature=np.array([1, -2, -2, -2]),
    threshold=np.array([0.5, -2, -2, -2]),
    jump_start=np.array([0, 0, 2, 2, 3]),
    jump_time=np.array([0, 2, 1]),
    jump=np.array([1 / 4, 2 / 3, 1 / 2]),
    event_days=np.array([10.0, 20.0, 30.0]),
)
TABLE = np.array([[9.0, 0.5], [9.0, 0.6]])


def test_rows_go_left_up_to_the_threshold() -> None:
    assert FOREST.leaves(TABLE).tolist() == [[1, 3], [2, 3]]
    assert FOREST.leaves(TABLE[:0]).shape == (0, 2)


def test_survival_is_the_mean_of_the_leaves_products() -> None:
    left, lone = np.array([3 / 4, 3 / 4, 1 / 4]), np.array([1, 1 / 2, 1 / 2])
    np.testing.assert_allclose(FOREST.survival(TABLE), [(left + lone) / 2, (1 + lone) / 2])


def test_mortality_is_the_mean_of_the_sums_of_cumulative_hazards() -> None:
    left = 1 / 4 + 1 / 4 + (1 / 4 + 2 / 3)
    lone = 0 + 1 / 2 + 1 / 2
    np.testing.assert_allclose(FOREST.mortality(TABLE), [(left + lone) / 2, lone / 2])


def test_a_curve_is_1_before_the_first_event_and_ends_with_support() -> None:
    survival = np.array([[0.8, 0.6, 0.3]])
    days = np.array([0.0, 9.9, 10.0, 29.0, 30.0, 40.0, 40.1])
    found = step_survival(days, survival=survival, event_days=FOREST.event_days, last_day=40.0)
    np.testing.assert_array_equal(found, [[1, 1, 0.8, 0.6, 0.3, 0.3, np.nan]])
