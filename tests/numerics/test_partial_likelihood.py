import numpy as np
import pytest
import torch

from tta_pipeline.numerics.partial_likelihood import held_out_log_likelihood, log_partial_likelihood, slope_at_zero
from tta_pipeline.numerics.survival import cox_loss


def outcomes(n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, 3)), generator.integers(1, 20, n).astype(float), generator.random(n) < 0.5


def test_equal_risks_have_the_closed_form() -> None:
    """Without ties the k-th last event has k + 1 at risk: -log n! where all have the event."""
    found = log_partial_likelihood(np.zeros((5, 1)), time_days=np.arange(5.0), event=np.ones(5, dtype=bool))
    assert found[0] == pytest.approx(-np.log(120))


def test_it_is_the_training_loss_of_the_networks() -> None:
    risk, time_days, event = outcomes()
    found = log_partial_likelihood(risk, time_days=time_days, event=event)
    for column, value in zip(risk.T, found, strict=True):
        loss = cox_loss(
            torch.from_numpy(column.copy()),
            time_days=torch.from_numpy(time_days),
            event=torch.from_numpy(event),
            ties="breslow",
        )
        assert value == pytest.approx(-float(loss) * event.sum())


def test_the_slope_at_zero_is_the_likelihoods() -> None:
    columns, time_days, event = outcomes()
    step = 1e-6 * np.eye(3)
    rise = [log_partial_likelihood(columns @ side.T, time_days=time_days, event=event) for side in (step, -step)]
    found = slope_at_zero(columns, time_days=time_days, event=event)
    np.testing.assert_allclose(found, (rise[0] - rise[1]) / 2e-6, atol=1e-6)


def test_large_risks_and_no_event_are_safe() -> None:
    risk, time_days, event = outcomes()
    assert np.isfinite(log_partial_likelihood(1e4 * risk, time_days=time_days, event=event)).all()
    assert log_partial_likelihood(risk, time_days=time_days, event=np.zeros(60, dtype=bool)).tolist() == [0, 0, 0]


def test_held_out_likelihood_is_of_the_held_out_events_and_their_weight_in_risk_sets() -> None:
    """A patient who is censored before the first event stands in no risk set, and adds nothing."""
    risk, time_days, event = outcomes()
    time_days[:1], event[:1] = 0.5, False
    held_out = np.arange(60) == 0
    assert held_out_log_likelihood(risk, held_out=held_out, time_days=time_days, event=event) == pytest.approx([0] * 3)
    held_out = np.arange(60) < 20
    found = held_out_log_likelihood(risk, held_out=held_out, time_days=time_days, event=event)
    expected = log_partial_likelihood(risk, time_days=time_days, event=event)
    expected = expected - log_partial_likelihood(risk[20:], time_days=time_days[20:], event=event[20:])
    np.testing.assert_allclose(found, expected)
