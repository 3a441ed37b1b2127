from typing import Any

import numpy as np
import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.covariates import fit_encoding

CELLS = {
    "age_at_diagnosis": ["50", "60", "70", "", "80", "40", "55", "65"],
    "gender": ["MALE", "FEMALE", "MALE", "MALE", "", "MALE", "FEMALE", "FEMALE"],
    "ajcc_pathologic_tumor_stage": ["Stage IIA", "Stage X", "III", "IV", "Stage I", "", "Stage IIB", "Stage IIIC"],
    "histological_grade": ["Low Grade", "High Grade", "GX", "G2", "G3", "G1", "G4", "G2"],
    "mutations": ["3", "0.5", "-1", "7", "8", "9", "2", "2"],
}


def columns(cells: dict[str, list[str]], **options: Any) -> dict[str, list[float]]:
    encoding = fit_encoding(cells, **options)
    values = encoding.encode(cells)
    assert np.isfinite(values).all()
    return dict(zip(encoding.kept, values.T.tolist(), strict=True))


def test_each_kind_of_covariate_becomes_its_numbers() -> None:
    found = columns(CELLS)
    assert found["age_at_diagnosis"] == [5, 6, 7, 6, 8, 4, 5.5, 6.5]  # decades; the gap has the median
    assert found["gender"] == [1, 0, 1, 1, 1, 1, 0, 0]  # the gap has the mode
    assert found["ajcc_pathologic_tumor_stage"] == [2, 2.5, 3, 4, 1, 2.5, 2, 3]
    assert found["histological_grade"] == [1, 3, 2, 2, 3, 1, 4, 2]
    assert found["mutations"] == [3, 0.5, -1, 7, 8, 9, 2, 2]
    assert found["ajcc_pathologic_tumor_stage missing"] == [0, 1, 0, 0, 0, 1, 0, 0]
    assert "mutations missing" not in found


def test_categories_need_patients_and_the_most_frequent_is_the_reference() -> None:
    race = ["a"] * 9 + ["b"] * 5 + ["c"] * 4 + [""] * 2
    found = columns({"race": race})
    assert list(found) == ["race=b", "race missing"]
    assert np.flatnonzero(found["race=b"]).tolist() == [9, 10, 11, 12, 13]
    assert np.flatnonzero(found["race missing"]).tolist() == [18, 19]
    assert list(columns({"race": race}, min_patients=4)) == ["race=b", "race=c", "race missing"]


def test_other_patients_are_encoded_by_what_was_fitted() -> None:
    encoding = fit_encoding(CELLS | {"race": ["a", "b"] * 4}, min_patients=2)
    own = {name: ["", "elsewhere"] for name in [*CELLS, "race"]}
    found = dict(zip(encoding.kept, encoding.encode(own).T.tolist(), strict=True))
    assert found["age_at_diagnosis"] == [6, 6]  # the training median
    assert found["age_at_diagnosis missing"] == [1, 1]
    assert found["mutations"] == [2.5, 2.5]
    assert found["race=b"] == [0, 0]


def test_each_patient_is_encoded_alone() -> None:
    encoding = fit_encoding(CELLS)
    whole = encoding.encode(CELLS)
    for row in range(8):
        np.testing.assert_array_equal(encoding.encode({k: [v[row]] for k, v in CELLS.items()})[0], whole[row])


def test_constant_columns_are_dropped_by_name() -> None:
    encoding = fit_encoding(CELLS | {"sex": ["FEMALE"] * 8, "site": ["x"] * 8, "year": ["2010"] * 8, "t": [""] * 8})
    assert encoding.dropped == ("sex", "year", "t missing", "site")
    assert not {"sex", "year", "site", "t"} & set(encoding.kept)


def test_a_name_alone_does_not_make_a_stage_or_an_age() -> None:
    found = columns({"stage": ["low", "high"] * 5, "age_group": ["old", "young"] * 5, "sex": ["1", "2"] * 5})
    assert list(found) == ["stage=low", "age_group=young", "sex"]  # high and old are the references


def test_nothing_that_varies_is_an_error() -> None:
    with pytest.raises(
        InputError, match=r"expected a covariate that differs .* found sex, grade missing: all constant"
    ):
        fit_encoding({"sex": ["F"] * 9, "grade": [""] * 9})


def test_an_absent_covariate_is_named() -> None:
    with pytest.raises(
        InputError, match="expected the covariates that the model was trained on, found none named gender"
    ):
        fit_encoding(CELLS).encode({name: cells for name, cells in CELLS.items() if name != "gender"})
