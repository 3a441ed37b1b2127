"""The check of modalities: models whose use of each modality is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tta_pipeline.numerics import findings
from tta_pipeline.numerics.comparison import holm
from tta_pipeline.numerics.metrics import Fold, harrell_c
from tta_pipeline.numerics.modalities import modality_check, partners

PATIENTS = 150


@pytest.mark.parametrize("patients", [2, 3, 40])
def test_everybody_gets_somebody_elses_and_nobodys_is_used_twice(patients: int) -> None:
    partner = partners(patients, generator=np.random.default_rng(0))
    assert sorted(partner) == list(range(patients))
    assert (partner != np.arange(patients)).all()


def test_partners_differ_from_draw_to_draw() -> None:
    generator = np.random.default_rng(0)
    first, second = partners(40, generator=generator), partners(40, generator=generator)
    assert (first != second).any()


def parts(*, of_histology: float, of_genomics: float) -> tuple[list[Fold], dict[str, list[list[Fold]]]]:
    """Two folds whose hazard both modalities raise, a linear model of them, and its risks with others' modalities."""
    generator = np.random.default_rng(5)
    own, exchanged = [], {"histology": [[], [], []], "genomics": [[], [], []]}
    for number in range(2):
        x, g = generator.normal(size=(2, PATIENTS))
        times = generator.exponential(np.exp(-x - g))
        fold = Fold(
            repeat=0,
            fold=number,
            seed=0,
            patient_id=np.array([f"p{number}-{row}" for row in range(PATIENTS)]),
            risk=of_histology * x + of_genomics * g,
            time_days=times,
            event=generator.random(PATIENTS) < 0.7,
        )
        own.append(fold)
        for draw in range(3):
            rows = partners(PATIENTS, generator=generator)
            exchanged["histology"][draw].append(replace(fold, risk=of_histology * x[rows] + of_genomics * g))
            exchanged["genomics"][draw].append(replace(fold, risk=of_histology * x + of_genomics * g[rows]))
    return own, exchanged


def test_a_modality_that_is_used_is_lost_and_one_that_is_not_is_not() -> None:
    models, exchanged = {}, {}
    for name, (of_histology, of_genomics) in {"both": (1, 1), "genes": (0, 1)}.items():
        models[name], exchanged[name] = parts(of_histology=of_histology, of_genomics=of_genomics)
    table = modality_check(models, exchanged, samples=200, seed=0, confidence=0.95).set_index(["model", "modality"])
    assert table["verdict"].to_dict() == {
        ("both", "histology"): "used",
        ("both", "genomics"): "used",
        ("genes", "histology"): "no use shown",
        ("genes", "genomics"): "used",
    }
    assert table.loc[("genes", "histology"), "c_lost"] == pytest.approx(0, abs=1e-12)
    assert table.loc[("genes", "genomics"), "c_exchanged"] == pytest.approx(0.5, abs=0.05)


def test_verdicts_are_corrected_for_the_number_of_rows() -> None:
    """Twenty models that guess: without a correction one in twenty rows is "used"."""
    models, exchanged = {}, {}
    for number in range(20):
        own, _ = parts(of_histology=1, of_genomics=1)
        generator = np.random.default_rng(100 + number)
        guess = [replace(part, risk=generator.normal(size=PATIENTS)) for part in own]
        models[f"guess {number}"] = guess
        draws = [[replace(part, risk=generator.permutation(part.risk)) for part in guess] for _ in range(2)]
        exchanged[f"guess {number}"] = {"histology": draws}
    table = modality_check(models, exchanged, samples=100, seed=0, confidence=0.95)
    assert (table["c_low"] > 0).any()
    assert (table["p_bootstrap"] < 0.05).any()
    assert (table["verdict"] == "no use shown").all()
    np.testing.assert_allclose(table["p_corrected"], holm(table["p_bootstrap"].to_list()))
    models["uses"], both = parts(of_histology=1, of_genomics=1)
    exchanged["uses"] = {"histology": both["histology"]}
    table = modality_check(models, exchanged, samples=100, seed=0, confidence=0.95)
    assert table.loc[table["verdict"] == "used", "model"].tolist() == ["uses"]


def test_the_c_index_is_that_of_pairs_within_folds() -> None:
    own, exchanged = parts(of_histology=1, of_genomics=0)
    table = modality_check({"m": own[:1]}, {"m": {"histology": [[exchanged["histology"][0][0]]]}}, samples=100, seed=0,
                           confidence=0.9)  # fmt: skip
    other = exchanged["histology"][0][0]
    expected = harrell_c(risk=other.risk, time_days=other.time_days, event=other.event).value
    assert table["c_exchanged"].tolist() == [pytest.approx(expected)]


def test_no_draws_give_no_row() -> None:
    own, _ = parts(of_histology=1, of_genomics=1)
    missing = {"m": {"histology": [[]], "genomics": []}}
    assert modality_check({"m": own}, missing, samples=100, seed=0, confidence=0.95).empty


def test_models_without_draws_do_not_count_among_the_tests() -> None:
    models, exchanged = {}, {}
    models["m"], exchanged["m"] = parts(of_histology=1, of_genomics=1)
    options = {"samples": 100, "seed": 0, "confidence": 0.95}
    alone = modality_check(models, exchanged, **options)
    unchecked = [f"unchecked {number}" for number in range(30)]
    models |= dict.fromkeys(unchecked, models["m"])
    exchanged |= {name: {"histology": [], "genomics": []} for name in unchecked}
    pd.testing.assert_frame_equal(modality_check(models, exchanged, **options), alone)


def test_a_part_of_one_patient_is_left_out_and_said() -> None:
    own, exchanged = parts(of_histology=1, of_genomics=1)
    alone = replace(
        own[0], fold=2, **{name: getattr(own[0], name)[:1] for name in ("patient_id", "risk", "time_days", "event")}
    )
    options = {"samples": 100, "seed": 0, "confidence": 0.95}
    table = modality_check({"m": [*own, alone]}, {"m": exchanged}, **options)
    assert table[["n_parts", "n_checked"]].to_numpy().tolist() == [[3, 2]] * 2
    whole = modality_check({"m": own}, {"m": exchanged}, **options)
    pd.testing.assert_frame_equal(table.drop(columns="n_parts"), whole.drop(columns="n_parts"))
    assert findings.of_modalities(whole) == []
    (said,) = findings.of_modalities(table)
    assert "over 2 of 3 test parts" in said
