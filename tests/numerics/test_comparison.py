"""Tests of a difference: closed forms, scipy, their error under no difference, and words that say no more than p."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.bootstrap import percentile_interval
from tta_pipeline.numerics.comparison import SIGNIFICANT, bootstrap_test, corrected_t_test, holm, samples_for, verdict

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def test_the_bootstrap_p_counts_the_smaller_side_and_is_never_0():
    assert bootstrap_test(np.linspace(1, 2, 999)).p == pytest.approx(2 / 1000)
    assert bootstrap_test(np.append(np.full(990, 0.1), np.full(9, -0.1))).p == pytest.approx(2 * 10 / 1000)
    assert bootstrap_test(np.zeros(999)).p == 1


@pytest.mark.parametrize("tests", [0, 1, 3, 12, 13, 210, 5000])
def test_samples_are_enough_for_the_smallest_p_to_survive_holm(tests):
    samples = samples_for(tests, least=1000)
    assert samples >= 1000
    found = holm([bootstrap_test(np.ones(samples)).p, *[1.0] * (tests - 1)])
    assert found[0] < SIGNIFICANT
    assert samples == 1000 or tests > 12  # no more than intervals need for a few models


@settings(deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(-4, 4))
def test_the_bootstrap_p_has_no_sign_and_follows_the_interval(seed, shift):
    differences = np.random.default_rng(seed).normal(shift, 1, 999)
    p = bootstrap_test(differences).p
    assert bootstrap_test(-differences).p == p
    interval = percentile_interval(differences, confidence=0.95)
    if interval.low > 0 or interval.high < 0:
        assert p <= 0.0521
    else:
        assert p >= 0.0479


def test_bootstrap_samples_without_a_difference():
    differences = np.random.default_rng(0).normal(1, 1, 1000)
    differences[:40] = np.nan
    assert bootstrap_test(differences).n == 960
    differences[:60] = np.nan
    assert np.isnan(bootstrap_test(differences).p)
    assert "60 of 1000 bootstrap samples" in bootstrap_test(differences).reason
    assert bootstrap_test(np.array([])).reason == "no bootstrap samples"


def test_the_corrected_t_is_the_plain_t_but_for_its_variance():
    differences = np.random.default_rng(1).normal(0.02, 0.03, 15)
    plain = ttest_1samp(differences, 0)
    assert corrected_t_test(differences, n_test=1e-12, n_train=1).p == pytest.approx(plain.pvalue)
    found = corrected_t_test(differences, n_test=60, n_train=240)
    assert found.statistic == pytest.approx(plain.statistic * np.sqrt((1 / 15) / (1 / 15 + 1 / 4)))
    assert found.p > plain.pvalue
    assert corrected_t_test(-differences, n_test=60, n_train=240).p == pytest.approx(found.p)
    assert corrected_t_test(np.append(differences, np.nan), n_test=60, n_train=240) == found


def test_the_corrected_t_keeps_its_level_where_differences_share_a_part():
    # the correlation of two test parts that the method assumes, n_test / (n_test + n_train)
    generator = np.random.default_rng(0)
    rho, studies = 0.2, 4000
    shared = generator.normal(size=(studies, 1)) * np.sqrt(rho)
    differences = shared + generator.normal(size=(studies, 25)) * np.sqrt(1 - rho)
    p = np.array([corrected_t_test(row, n_test=60, n_train=240).p for row in differences])
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(ttest_1samp(differences, 0, axis=1).pvalue < 0.05) > 0.3


def test_the_t_test_is_undefined_with_a_reason():
    for differences, reason in (
        ([0.1, np.nan], "1 of 2 test parts have a difference"),
        ([], "0 of 0 test parts"),
        ([0.0, 0, 0], "all 3 differences are 0"),
        ([0.1, 0.1, 0.1], "all 3 differences are 0.1"),
    ):
        found = corrected_t_test(np.array(differences, dtype=float), n_test=60, n_train=240)
        assert np.isnan(found.p)
        assert reason in found.reason
    with pytest.raises(InputError, match="n_test and n_train above 0, found 60 and 0"):
        corrected_t_test(np.zeros(3), n_test=60, n_train=0)


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    assert holm([]).shape == (0,)
    with pytest.raises(InputError, match=r"p values in \[0, 1\], found 0.5 to 1.5"):
        holm([0.5, 1.5])


@settings(deadline=None)
@given(p=P_VALUES, level=st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p, level):
    rejected, values = 0, sorted(p)
    while rejected < len(values) and values[rejected] * (len(values) - rejected) <= level:
        rejected += 1
    assert (holm(p) <= level).sum() == rejected


@settings(deadline=None)
@given(p=P_VALUES)
def test_holm_never_makes_a_p_smaller_nor_changes_their_order(p):
    corrected = holm(p)
    assert (corrected >= np.array(p)).all()
    assert (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()


def test_words():
    assert verdict("a", "b", difference=0.1, p_corrected=0.049) == "a higher"
    assert verdict("a", "b", difference=-0.1, p_corrected=0.001) == "b higher"
    assert verdict("a", "b", difference=0.1, p_corrected=0.05) == "no difference shown"
    assert verdict("a", "b", difference=0.1, p_corrected=np.nan) == "not compared"
