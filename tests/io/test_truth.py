"""The true risk of a simulated cohort."""

import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.io.truth import read_truth


def test_truth_may_hold_more_patients_and_columns(tmp_path):
    path = tmp_path / "truth.tsv"
    path.write_text("patient_id\trisk\tshared\n001\t0.5\t1\nB\t-1\t2\n")
    assert read_truth(path, patients=["001"]) == {"001": 0.5}
    with pytest.raises(InputError, match="found none for 1: C"):
        read_truth(path, patients=["B", "C"])
