"""The files of a training's state: how they are named, and that none outlives its artifact."""

from pathlib import Path

from tta_pipeline.models.resume import Journal, remove_states, state_file


def test_states_go_whatever_recipe_had_begun_them_and_nothing_else_does(tmp_path: Path) -> None:
    out = tmp_path / "r0_f0_s1.h5"
    gone = [state_file(out), state_file(out, number=0), state_file(out, number=11)]
    gone += [tmp_path / f".{path.name}.x_1y.tmp" for path in gone]  # of a job that was killed while it wrote
    others = [tmp_path / f"r0_f0_s{name}" for name in ("1.h5", "1xh5.partial", "11.h5.partial", "11.h5.0.partial")]
    others += [tmp_path / "r0_f0_s1.h5.tsv.partial"]
    for path in gone + others:
        path.touch()
    remove_states(out)
    assert sorted(tmp_path.iterdir()) == sorted(others)
    remove_states(out)


def test_a_state_stands_beside_its_artifact(tmp_path: Path) -> None:
    assert state_file(tmp_path / "a.h5") == tmp_path / "a.h5.partial"
    assert state_file(tmp_path / "a.h5", number=3) == tmp_path / "a.h5.3.partial"


def test_a_state_is_due_once_a_minute_and_at_the_end_of_a_combination(tmp_path: Path) -> None:
    single, one_of_several = (Journal(tmp_path / "a", made_from="", keeps_end=keeps) for keeps in (False, True))
    assert [single.is_due(since_s=since, at_end=False) for since in (59, 60)] == [False, True]
    assert [single.is_due(since_s=since, at_end=True) for since in (59, 60)] == [False, True]
    assert one_of_several.is_due(since_s=0, at_end=True)
    assert not one_of_several.is_due(since_s=0, at_end=False)
