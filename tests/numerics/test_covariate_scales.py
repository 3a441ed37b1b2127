"""Clinical covariates as numbers: what each kind of cell becomes, and what is refused."""

import numpy as np
import pytest

from tta_pipeline.numerics.covariate_scales import encode


@pytest.mark.parametrize(
    ("cells", "values", "scale"),
    [
        (["61", "70.5", "", "61"], [61, 70.5, np.nan, 61], "number"),
        (["Stage I", "Stage IIA", "Stage IIIC", "Stage IV", "Stage X"], [1, 2, 3, 4, np.nan], "stage or grade"),
        (["G1", "g3", "GX"], [1, 3, np.nan], "stage or grade"),
        (["T4a", "T2", " "], [4, 2, np.nan], "stage or grade"),
        (["MALE", "FEMALE", "MALE"], [1, 0, 1], "0: FEMALE, 1: MALE"),
    ],
)
def test_cells_become_numbers(cells, values, scale):
    found = encode({str(number): cell for number, cell in enumerate(cells)})
    assert list(found.values.values()) == pytest.approx(values, nan_ok=True)
    assert (found.scale, found.reason) == (scale, "")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["WHITE", "ASIAN", "BLACK"], "3 values that are neither numbers nor stages, such as ASIAN, WHITE"),
        (["61", "about 60", "70"], "3 values that are neither numbers nor stages, such as 61, about 60"),
        (["61", "inf", "70"], "3 values that are neither numbers nor stages, such as 61, inf"),
        (["MALE", "MALE", ""], "1 different values among 2 patients who have it"),
        (["", ""], "0 different values among 0 patients who have it"),
        ([], "0 different values among 0 patients who have it"),
    ],
)
def test_what_has_no_order_is_not_read(cells, reason):
    found = encode({str(number): cell for number, cell in enumerate(cells)})
    assert (found.values, found.reason) == ({}, reason)
