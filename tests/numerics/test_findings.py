"""Sentences on what is wrong, and silence where nothing is."""

import numpy as np
import pandas as pd
import pytest

from tests.numerics.test_metrics import fold
from tta_pipeline.numerics import findings
from tta_pipeline.numerics.results import c_per_part


def splits_of(parts):
    return pd.concat(
        pd.DataFrame({"repeat": p.repeat, "fold": p.fold, "patient_id": p.patient_id, "role": "test"}) for p in parts
    )


def test_a_sound_study_has_no_findings():
    models = {"tta": [fold(number=0), fold(number=1)]}
    assert findings.of_test_parts(c_per_part(models)) == []
    assert findings.of_risks(models) == []
    assert findings.of_missing_patients(models, splits=splits_of(models["tta"])) == []
    assert findings.of_direction(pd.DataFrame({"model": ["tta"], "c_high": [0.6]})) == []
    higher = {"verdict": ["tta higher"], "reason": [""], "c_detectable": [0.2]}
    assert findings.of_comparisons(pd.DataFrame(higher)) == []


def test_few_events_are_named_once_for_all_models():
    events = np.arange(60) < 4
    models = {name: [fold(event=events), fold(number=1)] for name in ("a", "b")}
    found = findings.of_test_parts(c_per_part(models))
    assert found == [
        "1 of 2 test parts have fewer than 10 events (repeat 0 fold 0: 4): their C-indices say little on their own."
    ]


def test_few_events_are_those_of_the_model_with_the_fewest_whatever_the_order_of_models():
    whole, part = fold(number=1), fold(number=1, n=12, event=np.arange(12) < 3)
    models = {"whole": [fold(), whole], "part": [fold(), part]}
    (found,) = findings.of_test_parts(c_per_part(models))
    assert found.startswith("1 of 2 test parts have fewer than 10 events (repeat 0 fold 1: 3 for some models): ")
    assert findings.of_test_parts(c_per_part(dict(reversed(models.items())))) == [found]


def test_undefined_c_indices_are_named_with_their_reason():
    models = {"a": [fold(event=np.zeros(60, dtype=bool))]}
    found = findings.of_test_parts(c_per_part(models))
    assert found[1:] == [
        "1 of 1 C-indices are undefined (a repeat 0 fold 0 seed 0: no events among 60 patients). "
        "Means are over the defined ones."
    ]


def test_a_model_of_mixed_settings_is_named_with_the_remedy():
    assert findings.of_mixed_settings([]) == []
    (found,) = findings.of_mixed_settings(["mcat"])
    assert found.startswith("mcat: its fits have different options or recipes")
    assert "--forcerun train" in found


def test_models_whose_modalities_were_not_checked_are_named_with_the_remedy():
    assert findings.of_unchecked_modalities([]) == []
    (found,) = findings.of_unchecked_modalities(["mcat", "cmta"])
    assert found.startswith("mcat; cmta: not checked whether both modalities are used. Set evaluate.exchanges to 1 or ")


def test_shared_sites_are_said_with_the_worst_part():
    events = pd.DataFrame({"repeat": 0, "fold": [0, 1, 2], "n_test_sites": [4, 9, 3], "n_shared_sites": [1, 7, 0]})
    found = findings.of_shared_sites(events)
    assert len(found) == 1
    assert found[0].startswith(
        "2 of 3 test parts have tissue source sites that train as well (up to 7 of 9, in repeat 0 "
    )
    assert findings.of_shared_sites(events.assign(n_shared_sites=0)) == []


def test_sites_that_are_not_known_are_said_and_not_taken_for_none():
    events = pd.DataFrame({"repeat": 0, "fold": [0, 1], "n_train": 40, "n_test": [20, 19], "n_unknown_sites": [3, 7]})
    (found,) = findings.of_unknown_sites(events)
    assert found.startswith("The site of 7 of 59 training and test patients is not known (repeat 0 fold 1), so that it")
    assert "inputs.site_column" in found
    assert findings.of_unknown_sites(events.assign(n_unknown_sites=0)) == []


def test_constant_risks():
    found = findings.of_risks({"a": [fold(risk=np.full(60, 0.3)), fold(number=1)]})
    assert found == [
        "All test patients have the same risk in a repeat 0 fold 0 seed 0: the model has learnt nothing there."
    ]


def test_empty_models_are_named_once_for_a_reason():
    assert findings.of_empty_models({}) == []
    (said,) = findings.of_empty_models({"empty model": ["net repeat 0 fold 1 seed 0", "net repeat 0 fold 2 seed 0"]})
    assert said.startswith("empty model in net repeat 0 fold 1 seed 0; net repeat 0 fold 2 seed 0: no gene set")


def test_missing_patients_and_folds_are_joined_over_models():
    whole = [fold(n=20, number=0), fold(n=20, number=1)]
    part = fold(n=12, number=0)
    found = findings.of_missing_patients({"a": [part], "b": [part], "c": whole}, splits=splits_of(whole))
    assert found[0].startswith("8 test patients of the splits have no risk in a, b (p0-12; p0-13; ")
    assert found[0].endswith("; and 2 more).")
    assert found[1:] == ["1 of 2 test parts have no results in a, b (repeat 0 fold 1)."]


def test_worse_than_chance_points_to_the_indicator():
    found = findings.of_direction(pd.DataFrame({"model": ["a"], "c_high": [0.45]}))
    assert len(found) == 1
    assert "inputs.event_means" in found[0]


@pytest.mark.parametrize(("available", "said"), [(49, True), (50, False)])
def test_sets_of_which_less_than_half_was_measured(available, said):
    sets = pd.DataFrame({"genes": [100, 100], "available": [available, 0], "kept": [True, False]})
    found = findings.of_coverage(sets)
    assert [text.startswith("Only 49% of the genes of the 1 gene sets") for text in found] == [True] * said
    assert findings.of_coverage(sets[:0]) == []


def test_losses_after_the_cohort_and_pairs_not_compared():
    steps = pd.DataFrame(
        [("slide", "inputs", "candidates", 0), ("slide", "cohort", "x", 3), ("slide", "features", "no tissue", 2)],
        columns=["kind", "stage", "reason", "left"],
    )
    assert findings.of_attrition(steps) == ["Left out at the features stage: 2 slides (no tissue)."]
    row = {"model_a": "a", "model_b": "b", "verdict": "not compared", "reason": "why", "c_detectable": np.nan}
    assert findings.of_comparisons(pd.DataFrame([row])) == ["a and b are not compared: why."]
    (said,) = findings.of_comparisons(pd.DataFrame([row | {"model_b": f"m{number}"} for number in range(9)]))
    assert said.startswith("a and m0; a and m1")
    assert said.endswith("each are not compared: why.")


def test_a_comparison_that_could_show_large_differences_alone_says_so():
    row = {"model_a": "a", "model_b": "b", "verdict": "no difference shown", "reason": "", "c_detectable": 0.42}
    (said,) = findings.of_comparisons(pd.DataFrame([row, row | {"c_detectable": 0.2}, row | {"verdict": "a higher"}]))
    assert said.startswith("No difference is shown in 2 of 3 pairs of models, and in half of them one below about 0.31")
    assert findings.of_comparisons(pd.DataFrame([row | {"c_detectable": 0.05}])) == []
    assert findings.of_comparisons(pd.DataFrame([row | {"c_detectable": np.nan}])) == []
    (said,) = findings.of_comparisons(pd.DataFrame([row | {"c_detectable": 1.4}]))
    assert "and in half of them one of any size could not have been" in said
    assert findings.of_comparisons(pd.DataFrame([row | {"verdict": "a higher"}])) == []


def test_models_of_binned_follow_up_are_named():
    assert findings.of_binned_follow_up([]) == []
    (said,) = findings.of_binned_follow_up(["mcat", "cmta"])
    assert said.startswith("mcat; cmta: trained with loss nll")


def test_a_calibration_is_named_where_most_bins_lie_outside():
    table = pd.DataFrame(
        {
            "model": ["a"] * 5 + ["b"] * 5,
            "bin": [0, 1, 2, 3, 4] * 2,
            "predicted": [0.5, 0.0, 0.5, 0.99, 0.1, 0.5, 0.0, 0.5, 0.9, 0.1],
            "low": [0.4, 0.2, 0.3, 0.6, 0.0] * 2,
            "high": [0.6, 0.6, 0.7, 0.95, 0.0] * 2,  # the last: everybody died, and the interval has no width
        }
    )
    (said,) = findings.of_calibration(table)
    assert "in most bins of patients (a: 2 of 3): read these risks as an order" in said
    assert findings.of_calibration(table[table["model"] == "b"]) == []


def test_hazards_that_change_are_named_with_p():
    table = pd.DataFrame({"model": ["a", "b", "c"], "p": [0.01, 0.04, np.nan], "correlation": [-0.3, 0.1, np.nan]})
    assert findings.of_hazards(table) == [
        "a: the hazards of its risk are not proportional (corrected p = 0.020): it tells less of late deaths than of "
        "early ones.",
        "b: the hazards of its risk are not proportional (corrected p = 0.040): it tells more of late deaths than of "
        "early ones.",
    ]
    more = pd.DataFrame({"model": list("abc"), "p": [0.01, 0.04, 0.04], "correlation": 0.1})
    (said,) = findings.of_hazards(more)
    assert said.startswith("a: ")


def test_risks_that_a_covariate_explains_are_named():
    table = pd.DataFrame(
        [
            ("a", "age", "number", 0.4, "nothing shown beyond it"),
            ("b", "age", "number", 0.01, "adds"),
            ("d", "age", "number", 0.3, "points the wrong way"),
            ("c", "all of them", "age, stage", 0.06, "nothing shown beyond it"),
        ],
        columns=["model", "covariate", "scale", "p_risk", "verdict"],
    )
    assert findings.of_added_value(table) == [
        "Risks that go with survival by themselves are not shown to add anything beside age (a: p = 0.400): that may "
        "be all that they tell.",
        "Risks that go with survival by themselves are not shown to add anything beside the covariates age, stage "
        "(c: p = 0.060): that may be all that they tell.",
    ]
