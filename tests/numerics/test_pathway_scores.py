import numpy as np

from tta_pipeline.numerics.pathway_scores import fit_scores, pathway_scores

SETS = [np.array([2]), np.array([0, 1, 3]), np.array([3, 4]), np.array([5])]


def expression(rows: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(5, 3, (rows, 6)).astype(np.float32)
    values[:, 5] = 1.5  # never varies
    return values


def test_a_set_of_one_gene_scores_its_z() -> None:
    values = expression(40)
    found = pathway_scores(values, members=SETS, scaler=fit_scores(values, members=SETS))
    z = (values[:, 2] - values[:, 2].mean()) / values[:, 2].std()
    np.testing.assert_allclose(found[:, 0], z, atol=1e-5)


def test_training_scores_have_mean_0_and_variance_1_and_a_constant_set_is_0() -> None:
    values = expression(40)
    found = pathway_scores(values, members=SETS, scaler=fit_scores(values, members=SETS))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=0), [1, 1, 1, 0], atol=1e-6)


def test_units_of_genes_and_their_order_in_a_set_do_not_matter() -> None:
    values = expression(40)
    found = pathway_scores(values, members=SETS, scaler=fit_scores(values, members=SETS))
    other = values * np.array([2, 0.5, 3, 10, 1, 1], dtype=np.float32) + 7
    turned = [members[::-1] for members in SETS]
    np.testing.assert_allclose(
        pathway_scores(other, members=turned, scaler=fit_scores(other, members=turned)), found, atol=1e-4
    )


def test_scores_of_a_patient_do_not_depend_on_others() -> None:
    scaler = fit_scores(expression(40), members=SETS)
    test = expression(9, seed=1)
    whole = pathway_scores(test, members=SETS, scaler=scaler)
    for rows in ([4], [8, 1, 4]):
        np.testing.assert_array_equal(pathway_scores(test[rows], members=SETS, scaler=scaler), whole[rows])
