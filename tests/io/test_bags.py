from pathlib import Path

import numpy as np
import pytest

from tests.builders import write_features_file
from tta_pipeline import config
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import artifacts
from tta_pipeline.io.bags import Bags
from tta_pipeline.io.study import Patient

FAIL = config.BadSlides()


def patient(folder: Path, name: str, *slides: np.ndarray) -> Patient:
    files = [write_features_file(folder / f"{name}{n}.h5", one) for n, one in enumerate(slides)]
    return Patient(name, 1.0, True, tuple(files))


def numbered(start: int, stop: int, dtype: type = np.float16) -> np.ndarray:
    return np.repeat(np.arange(start, stop, dtype=dtype)[:, None], 3, axis=1)


def test_a_bag_stacks_the_slides_in_order_and_in_their_stored_type(tmp_path: Path) -> None:
    bags = Bags([patient(tmp_path, "A", numbered(0, 4), numbered(4, 6))], cache_gb=1, bad_slides=FAIL)
    np.testing.assert_array_equal(bags.read("A"), numbered(0, 6))
    assert bags.read("A").dtype == np.float16
    assert (bags.width, bags.n_patches) == (3, {"A": 6})


def test_double_precision_is_kept_as_single(tmp_path: Path) -> None:
    bags = Bags([patient(tmp_path, "A", numbered(0, 2, np.float64))], cache_gb=1, bad_slides=FAIL)
    assert bags.read("A").dtype == np.float32


def test_a_draw_has_no_repeats_follows_the_generator_and_leaves_short_bags_whole(tmp_path: Path) -> None:
    bags = Bags([patient(tmp_path, "A", numbered(0, 500))], cache_gb=1, bad_slides=FAIL)
    first, again, other = (bags.draw("A", count=60, generator=np.random.default_rng(s))[:, 0] for s in (0, 0, 1))
    assert len(set(first.tolist())) == 60
    np.testing.assert_array_equal(first, again)
    assert set(first.tolist()) != set(other.tolist())
    np.testing.assert_array_equal(bags.draw("A", count=500, generator=np.random.default_rng(0)), numbered(0, 500))


def test_every_file_is_read_once_while_the_cache_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = artifacts.read_features
    monkeypatch.setattr(artifacts, "read_features", lambda path: (reads.append(path.name), read(path))[1])
    patients = [patient(tmp_path, name, numbered(0, 100)) for name in "ABC"]
    bags = Bags(patients, cache_gb=2 * 600 / 1e9, bad_slides=FAIL)  # room for two of three bags of 600 bytes
    for name in "ABCABC":
        np.testing.assert_array_equal(bags.read(name), numbered(0, 100))
    assert reads == ["A0.h5", "B0.h5", "C0.h5", "C0.h5", "C0.h5"]


def test_two_widths_are_an_error_that_names_both_files(tmp_path: Path) -> None:
    patients = [patient(tmp_path, "A", numbered(0, 2)), patient(tmp_path, "B", numbered(0, 2)[:, :2])]
    with pytest.raises(InputError, match=r"found 3 in .*A0\.h5 and 2 in .*B0\.h5"):
        Bags(patients, cache_gb=1, bad_slides=FAIL)


def test_a_bad_slide_stops_or_is_left_out_up_to_the_limit(tmp_path: Path) -> None:
    damaged = numbered(0, 2).copy()
    damaged[1, 1] = np.nan
    patients = [patient(tmp_path, "A", numbered(0, 2), damaged), patient(tmp_path, "B", damaged)]
    with pytest.raises(ArtifactError, match=r"A1\.h5: expected finite features"):
        Bags(patients, cache_gb=1, bad_slides=FAIL)
    bags = Bags(patients, cache_gb=0, bad_slides=config.BadSlides(policy="exclude", limit=2))
    assert bags.n_patches == {"A": 2}
    assert list(bags.excluded) == ["A1", "B0"]
    np.testing.assert_array_equal(bags.read("A"), numbered(0, 2))
    with pytest.raises(InputError, match=r"at most bad_slides\.limit = 1"):
        Bags(patients, cache_gb=1, bad_slides=config.BadSlides(policy="exclude", limit=1))


def test_no_usable_patient_has_no_width() -> None:
    with pytest.raises(InputError, match="at least one patient"):
        _ = Bags([], cache_gb=1, bad_slides=FAIL).width


def placed(folder: Path, name: str, *slides: tuple[np.ndarray, np.ndarray | None]) -> Patient:
    files = [write_features_file(folder / f"{name}{n}.h5", one, coords=at) for n, (one, at) in enumerate(slides)]
    return Patient(name, 1.0, True, tuple(files))


def beside(features: np.ndarray) -> np.ndarray:
    """Coordinates that are told from the features."""
    number = features[:, 0].astype(np.int32)
    return np.stack([512 * number + 70_000, number], axis=1)


def test_places_are_slides_and_coordinates_or_the_order_of_a_file_without_them(tmp_path: Path) -> None:
    first, last = numbered(0, 3), numbered(3, 5)
    slides = (first, beside(first)), (numbered(7, 10), None), (last, beside(last))
    bags = Bags([placed(tmp_path, "A", *slides)], cache_gb=1, bad_slides=FAIL, with_places=True)
    rows = [[0, 70_000, 0], [0, 70_512, 1], [0, 71_024, 2]]
    rows += [[1, 0, 0], [1, 1, 0], [1, 2, 0], [2, 71_536, 3], [2, 72_048, 4]]
    assert bags.places("A").tolist() == rows
    assert bags.places("A").dtype == np.float32


@pytest.mark.parametrize("cache_gb", [1, 0])
@pytest.mark.parametrize("count", [60, 500])
def test_rows_are_those_of_a_draw_and_places_go_with_them(tmp_path: Path, cache_gb: float, count: int) -> None:
    first, last = numbered(0, 300), numbered(300, 500)
    patient = placed(tmp_path, "A", (first, beside(first)), (last, beside(last)))
    bags = Bags([patient], cache_gb=cache_gb, bad_slides=FAIL, with_places=True)
    drawn = bags.draw("A", count=count, generator=np.random.default_rng(0))
    rows = bags.rows("A", count=count, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(bags.read("A")[rows], drawn)
    np.testing.assert_array_equal(bags.places("A")[rows][:, 1:], beside(drawn))
    np.testing.assert_array_equal(bags.places("A")[rows][:, 0], drawn[:, 0] >= 300)


def test_coordinates_are_read_where_they_are_asked_for_and_their_memory_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read, read_coords = artifacts.read_features, artifacts.read_coords
    monkeypatch.setattr(artifacts, "read_features", lambda path: (reads.append(path.name), read(path))[1])
    monkeypatch.setattr(
        artifacts, "read_coords", lambda path, **rest: (reads.append("coords"), read_coords(path, **rest))[1]
    )
    patient = placed(tmp_path, "A", (numbered(0, 100), beside(numbered(0, 100))))
    Bags([patient], cache_gb=600 / 1e9, bad_slides=FAIL).read("A")  # a bag of 600 bytes
    assert reads == ["A0.h5"]
    bags = Bags([patient], cache_gb=1399 / 1e9, bad_slides=FAIL, with_places=True)
    assert (len(bags.read("A")), len(bags.places("A")), len(bags.places("A"))) == (100, 100, 100)
    assert reads == ["A0.h5", "A0.h5", "coords", "A0.h5"]
    reads.clear()
    Bags([patient], cache_gb=1400 / 1e9, bad_slides=FAIL, with_places=True).read("A")
    assert reads == ["A0.h5", "coords"]


def test_a_slide_of_bad_coordinates_is_a_bad_slide_where_they_are_asked_for(tmp_path: Path) -> None:
    bag = numbered(0, 2)
    patient = placed(tmp_path, "A", (bag, np.array([[0, 1], [np.inf, 2]])), (bag, beside(bag)))
    assert Bags([patient], cache_gb=1, bad_slides=FAIL).n_patches == {"A": 4}
    with pytest.raises(ArtifactError, match=r"A0\.h5: expected coords of shape \(2, 2\), finite numbers"):
        Bags([patient], cache_gb=1, bad_slides=FAIL, with_places=True)
    left = config.BadSlides(policy="exclude", limit=1)
    bags = Bags([patient], cache_gb=1, bad_slides=left, with_places=True)
    assert list(bags.excluded) == ["A0"]
    np.testing.assert_array_equal(bags.places("A")[:, 1:], beside(bag))
