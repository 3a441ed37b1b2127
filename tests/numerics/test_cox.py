"""The stratified Cox fit: closed forms, lifelines and cox_loss, and what has no maximum."""

import numpy as np
import pytest
import torch

from tests.numerics.test_hazards import fitted, frame, study
from tta_pipeline.errors import InputError
from tta_pipeline.numerics.cox import cox_fit
from tta_pipeline.numerics.survival import cox_loss


def cox(table, names):
    return cox_fit(
        covariates=table[names].to_numpy(),
        strata=table["part"].to_numpy(),
        time_days=table["time"].to_numpy(),
        event=table["event"].to_numpy(),
    )


def test_two_groups_by_hand():
    found = cox_fit(
        covariates=np.array([[1.0], [0], [0], [1]]),
        strata=np.zeros(4, dtype=int),
        time_days=np.array([1.0, 2, 0.5, 3]),
        event=np.array([True, True, False, False]),
    )
    # at day 1: x = 1, 0, 1 are followed; at day 2: x = 0, 1. With e = e^b the gradient is 0 where
    # 1 = 2 e / (2 e + 1) + e / (e + 1), that is 2 e^2 = 1
    assert np.exp(found.coefficients[0]) == pytest.approx(np.sqrt(0.5))
    e = np.sqrt(0.5)
    np.testing.assert_allclose(found.residuals[:, 0], [1 - 2 * e / (2 * e + 1), -e / (e + 1)])
    assert found.log_likelihood == pytest.approx(np.log(e / (2 * e + 1)) + np.log(1 / (e + 1)))


@pytest.mark.parametrize("ties", [False, True])
def test_lifelines_and_cox_loss_agree_on_the_stratified_fit(ties):
    table = frame(*study(ties=ties))
    ours, theirs = cox(table, ["risk", "age"]), fitted(table, ["risk", "age"])
    np.testing.assert_allclose(ours.coefficients, theirs.params_, rtol=1e-5)
    np.testing.assert_allclose(ours.covariance, theirs.variance_matrix_, rtol=1e-5)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood_)
    log_risk = torch.from_numpy(table[["risk", "age"]].to_numpy() @ ours.coefficients)
    loss = 0.0
    for rows in table.groupby("part").groups.values():
        event = torch.tensor(table["event"].to_numpy()[rows])
        time_days = torch.tensor(table["time"].to_numpy()[rows])
        loss += float(cox_loss(log_risk[rows], time_days=time_days, event=event) * event.sum())
    assert ours.log_likelihood == pytest.approx(-loss)
    np.testing.assert_allclose(ours.residuals.sum(axis=0), 0, atol=1e-4)


def test_an_order_of_strata_and_a_stratum_without_events_change_nothing():
    table = frame(*study())
    ours = cox(table, ["risk", "age"])
    turned = cox(table.assign(part=9 - table["part"]), ["risk", "age"])
    np.testing.assert_allclose(turned.coefficients, ours.coefficients)
    quiet = table.assign(part=7, event=False)
    more = cox(quiet.iloc[:20].merge(table, how="outer"), ["risk", "age"])
    np.testing.assert_allclose(more.coefficients, ours.coefficients)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (lambda table: table["part"] * 0.7 + 0.1, "constant within the strata"),
        (lambda table: 3 * table["risk"] - 1, "collinear"),
        (lambda table: table["time"].rank() / -50, "orders all events"),
    ],
)
def test_no_maximum_is_nan_with_a_reason(column, reason):
    table = frame(*study())
    found = cox(table.assign(other=column(table)), ["risk", "other"])
    assert np.isnan([*found.coefficients, found.log_likelihood]).all()
    assert reason in found.reason
    assert cox(table.assign(event=False), ["risk"]).reason == "no events among 180 patients"


def test_bad_inputs():
    table = frame(*study())
    table.loc[4, "age"] = np.nan
    with pytest.raises(InputError, match="NaN or infinity for 1 of 180"):
        cox(table, ["risk", "age"])
