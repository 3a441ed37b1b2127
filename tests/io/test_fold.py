from pathlib import Path

import numpy as np
import pytest

from tests.builders import GENES, write_features_file, write_pathways
from tta_pipeline import config
from tta_pipeline.errors import InputError
from tta_pipeline.io.bags import Bags
from tta_pipeline.io.fold import digests, select
from tta_pipeline.io.study import Patient


def test_patients_are_joined_by_identifier_in_the_order_asked(tmp_path: Path) -> None:
    expression = np.arange(3 * GENES, dtype=np.float32).reshape(3, GENES)
    pathways = write_pathways(tmp_path / "pathways.h5", ids=["C", "A", "B"], expression=expression)
    patients = {
        name: Patient(name, days, name == "B", (write_features_file(tmp_path / f"{name}.h5", np.ones((size, 2))),))
        for name, days, size in [("A", 10.0, 3), ("B", 20.0, 4), ("D", 40.0, 5)]
    }
    bags = Bags(patients.values(), cache_gb=1, bad_slides=config.BadSlides())
    group = select(["B", "gone", "A"], patients=patients, bags=bags, pathways=pathways)
    assert group.patient_id == ["B", "A"]
    assert group.time_days.tolist() == [20, 10]
    assert group.event.tolist() == [True, False]
    assert group.n_patches.tolist() == [4, 3]
    np.testing.assert_array_equal(group.expression, expression[[2, 1]])
    unread = select(["B", "gone", "A"], patients=patients, bags=None, pathways=pathways)
    assert (unread.patient_id, unread.n_patches.tolist()) == (["B", "A"], [0, 0])
    assert len(select([], patients=patients, bags=bags, pathways=pathways)) == 0
    with pytest.raises(InputError, match="found none for 1: D"):
        select(["A", "D"], patients=patients, bags=bags, pathways=pathways)


def test_digests_see_the_order_of_genes_and_sets(tmp_path: Path) -> None:
    values = np.zeros((1, GENES), dtype=np.float32)
    one = write_pathways(tmp_path / "one.h5", ids=["A"], expression=values)
    names = [f"G{number}" for number in reversed(range(GENES))]
    other = write_pathways(tmp_path / "other.h5", ids=["B"], expression=values, genes=names)
    assert digests(one)["genes"] != digests(other)["genes"]
    assert digests(one)["pathways"] == digests(other)["pathways"]
