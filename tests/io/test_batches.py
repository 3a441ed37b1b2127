"""A batch of slides: what a stopped job keeps, what it does again, and what becomes of a slide that cannot be used."""

import json
from dataclasses import replace

import pytest

from tta_pipeline.errors import InputError, SlideError
from tta_pipeline.io import tables
from tta_pipeline.io.batches import Finished, Task, one_by_one, read_tasks, run_batch

NAMES = ("s1", "s2", "s3", "s4")


class Job:
    """Copies a slide's text, notes what it worked on, and stumbles where it is told to."""

    def __init__(self, folder, *, bad=(), killed_at=None):
        self.folder, self.bad, self.killed_at = folder, bad, killed_at
        self.worked_on = []

    def __call__(self, task):
        if task.slide_id == self.killed_at:
            raise KeyboardInterrupt
        self.worked_on.append(task.slide_id)
        if task.slide_id in self.bad:
            raise SlideError(f"{task.slide_id}: expected tissue,\n\tfound none")
        file = self.folder / f"{task.slide_id}.h5"
        file.write_text(task.path.read_text())
        return Finished(file=file, n=len(task.path.read_text()))


@pytest.fixture
def tasks(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.svs").write_text(name * 3)
    return [Task(slide_id=name, path=tmp_path / f"{name}.svs", mpp=0.5) for name in NAMES]


@pytest.fixture
def manifest(tmp_path):
    return tmp_path / "batches" / "b0.tsv"


def run(tasks, job, manifest, *, options=None, policy="fail", again=False):
    run_batch(tasks, one_by_one(job), manifest=manifest, options=options or {"mpp": 0.5}, policy=policy, again=again)


def test_results_may_come_in_any_order(tasks, tmp_path, manifest):
    job = Job(tmp_path)
    run_batch(
        tasks,
        lambda left: ((task, job(task)) for task in reversed(left)),
        manifest=manifest,
        options={"mpp": 0.5},
        policy="fail",
    )
    assert list(tables.read_table(manifest, columns=tables.MANIFEST)["slide_id"]) == list(NAMES)


def journal(manifest):
    return manifest.with_name("b0.tsv.partial")


def stopped(tasks, tmp_path, manifest, *, at="s3"):
    with pytest.raises(KeyboardInterrupt):
        run(tasks, Job(tmp_path, killed_at=at), manifest)
    assert not manifest.exists()


def test_the_manifest_names_every_slide_in_order_and_the_journal_goes(tasks, tmp_path, manifest):
    job = Job(tmp_path)
    run(tasks, job, manifest)
    table = tables.read_table(manifest, columns=tables.MANIFEST)
    assert job.worked_on == list(NAMES)
    assert list(table["slide_id"]) == list(NAMES)
    assert list(table["file"]) == [str(tmp_path / f"{name}.h5") for name in NAMES]
    assert list(table["n"]) == [6] * 4
    assert list(table["excluded"]) == [""] * 4
    assert sorted(file.name for file in manifest.parent.iterdir()) == ["b0.tsv", "b0.tsv.journal"]


def test_a_killed_job_goes_on_where_it_was(tasks, tmp_path, manifest):
    stopped(tasks, tmp_path, manifest)
    job = Job(tmp_path)
    run(tasks, job, manifest)
    assert job.worked_on == ["s3", "s4"]
    assert len(tables.read_table(manifest, columns=tables.MANIFEST)) == 4


def test_killed_twice(tasks, tmp_path, manifest):
    stopped(tasks, tmp_path, manifest, at="s2")
    stopped(tasks, tmp_path, manifest, at="s4")
    job = Job(tmp_path)
    run(tasks, job, manifest)
    assert job.worked_on == ["s4"]


def test_of_a_finished_batch_only_changed_slides_are_computed_again(tasks, tmp_path, manifest):
    run(tasks, Job(tmp_path), manifest)
    (tmp_path / "s2.svs").write_text("another slide")
    job = Job(tmp_path)
    run(tasks, job, manifest)
    assert job.worked_on == ["s2"]
    table = tables.read_table(manifest, columns=tables.MANIFEST)
    assert list(table["n"]) == [6, len("another slide"), 6, 6]


def left_alone(tasks, tmp_path):
    return tasks


def moved(tasks, tmp_path):
    (tmp_path / "archive").mkdir()
    return [replace(task, path=task.path.rename(tmp_path / "archive" / task.path.name)) for task in tasks]


def gone(tasks, tmp_path):
    tasks[0].path.unlink()
    return tasks


def sorted_otherwise(tasks, tmp_path):
    return tasks[::-1]


def fewer(tasks, tmp_path):
    return tasks[1:]


@pytest.mark.parametrize("change", [left_alone, moved, gone, sorted_otherwise, fewer])
def test_of_a_finished_batch_in_which_no_slide_has_changed_none_is_computed_again(tasks, tmp_path, manifest, change):
    run(tasks, Job(tmp_path), manifest)
    tasks = change(tasks, tmp_path)
    job = Job(tmp_path)
    run(tasks, job, manifest)
    assert job.worked_on == []
    table = tables.read_table(manifest, columns=tables.MANIFEST)
    assert [(name, n) for name, n in zip(table["slide_id"], table["n"], strict=True)] == [
        (task.slide_id, 6) for task in tasks
    ]


def test_a_slide_that_was_absent_is_computed_alone_when_it_comes_back(tasks, tmp_path, manifest):
    away = tasks[1].path.rename(tmp_path / "away")
    run(tasks, Job(tmp_path, bad=("s2",)), manifest, policy="exclude")
    away.rename(tasks[1].path)
    job = Job(tmp_path)
    run(tasks, job, manifest, policy="exclude")
    assert job.worked_on == ["s2"]


def test_the_journal_tells_how_large_images_are_also_once_they_have_gone(tasks, tmp_path, manifest):
    def sizes():
        lines = manifest.with_name("b0.tsv.journal").read_text().splitlines()[1:]
        return {row["slide_id"]: row["bytes"] for row in map(json.loads, lines)}

    run(tasks, Job(tmp_path, bad=("s2",)), manifest, policy="exclude")
    assert sizes() == dict.fromkeys(NAMES, 6)
    tasks[0].path.unlink()
    run(tasks, Job(tmp_path), manifest)
    assert sizes() == dict.fromkeys(NAMES, 6)


def test_what_is_computed_again_goes_on_after_a_kill(tasks, tmp_path, manifest):
    stopped(tasks, tmp_path, manifest)
    with pytest.raises(KeyboardInterrupt):
        run(tasks, Job(tmp_path, killed_at="s2"), manifest, again=True)
    second = Job(tmp_path)
    run(tasks, second, manifest, again=True)
    assert second.worked_on == ["s2", "s3", "s4"], "s1 by the job that was stopped, not by the one before it"


def test_a_finished_batch_with_a_bad_slide_tries_it_again(tasks, tmp_path, manifest):
    run(tasks, Job(tmp_path, bad=("s2",)), manifest, policy="exclude")
    another = Job(tmp_path, bad=("s2",))
    run(tasks, another, manifest, policy="exclude")
    assert another.worked_on == ["s2"]
    forced = Job(tmp_path, bad=("s2",))
    run(tasks, forced, manifest, policy="exclude", again=True)
    assert forced.worked_on == list(NAMES)
    (tmp_path / "s2.svs").write_text("a mended slide")
    mended = Job(tmp_path)
    run(tasks, mended, manifest, policy="exclude")
    assert mended.worked_on == ["s2"]


def test_a_finished_batch_with_a_slide_that_was_left_out_before(tasks, tmp_path, manifest):
    whole = list(tasks)
    tasks[1] = Task(slide_id="s2", path=tmp_path / "s2.svs", excluded="s2: no tissue")
    run(tasks, Job(tmp_path), manifest)
    forced = Job(tmp_path)
    run(tasks, forced, manifest, again=True)
    assert forced.worked_on == ["s1", "s3", "s4"]
    mended = Job(tmp_path)
    run(whole, mended, manifest)
    assert mended.worked_on == ["s2"]
    lost = Job(tmp_path)
    run(tasks, lost, manifest)
    assert lost.worked_on == []


def test_a_finished_batch_of_other_options_is_computed_again(tasks, tmp_path, manifest):
    run(tasks, Job(tmp_path), manifest)
    (tmp_path / "s2.svs").write_text("another slide")
    job = Job(tmp_path)
    run(tasks, job, manifest, options={"mpp": 1.0})
    assert job.worked_on == list(NAMES)


def test_a_job_without_a_journal_computes_everything_anew(tasks, tmp_path, manifest):
    run(tasks, Job(tmp_path), manifest)
    manifest.with_name("b0.tsv.journal").unlink()
    job = Job(tmp_path)
    run(tasks, job, manifest)
    assert job.worked_on == list(NAMES)


def changed_options(tasks, tmp_path):
    return tasks, {"mpp": 1.0}


def changed_slide(tasks, tmp_path):
    (tmp_path / "s1.svs").write_text("another slide")
    return tasks, None


def changed_mpp(tasks, tmp_path):
    return [Task(slide_id="s1", path=tasks[0].path, mpp=0.25), *tasks[1:]], None


def changed_input(tasks, tmp_path):
    extra = tmp_path / "tiles.h5"
    extra.write_text("tiles")
    return [Task(slide_id="s1", path=tasks[0].path, mpp=0.5, inputs={"tiles": extra}), *tasks[1:]], None


def lost_file(tasks, tmp_path):
    (tmp_path / "s1.h5").unlink()
    return tasks, None


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (changed_options, ["s1", "s2", "s3", "s4"]),
        (changed_slide, ["s1", "s3", "s4"]),
        (changed_mpp, ["s1", "s3", "s4"]),
        (changed_input, ["s1", "s3", "s4"]),
        (lost_file, ["s1", "s3", "s4"]),
    ],
)
def test_what_changed_since_is_computed_again(tasks, tmp_path, manifest, change, again):
    stopped(tasks, tmp_path, manifest)
    tasks, options = change(tasks, tmp_path)
    job = Job(tmp_path)
    run(tasks, job, manifest, options=options)
    assert job.worked_on == again


def test_a_line_that_was_cut_off_is_not_trusted(tasks, tmp_path, manifest):
    stopped(tasks, tmp_path, manifest)
    journal(manifest).write_text(journal(manifest).read_text()[:-20])
    stopped(tasks, tmp_path, manifest, at="s4")
    assert [json.loads(line).get("slide_id") for line in journal(manifest).read_text().splitlines()] == [
        None,
        "s1",
        "s2",
        "s3",
    ]


def test_policy_fail_works_on_all_slides_and_names_every_bad_one(tasks, tmp_path, manifest):
    job = Job(tmp_path, bad=("s1", "s3"))
    with pytest.raises(
        SlideError, match=r"(?s)expected 4 usable slides, found 2 .*s1: expected tissue, found none\n  s3: exp"
    ):
        run(tasks, job, manifest)
    assert job.worked_on == list(NAMES)
    assert not manifest.exists()
    mended = Job(tmp_path)
    run(tasks, mended, manifest)
    assert mended.worked_on == ["s1", "s3"]


def test_policy_exclude_writes_the_reason_on_one_line(tasks, tmp_path, manifest):
    run(tasks, Job(tmp_path, bad=("s2",)), manifest, policy="exclude")
    row = tables.read_table(manifest, columns=tables.MANIFEST).set_index("slide_id").loc["s2"]
    assert (row["file"], row["n"], row["excluded"]) == ("", 0, "s2: expected tissue, found none")
    assert not journal(manifest).exists()


def test_a_slide_that_an_earlier_stage_left_out_is_passed_on(tasks, tmp_path, manifest):
    tasks[1] = Task(slide_id="s2", path=tmp_path / "gone.svs", excluded="s2: no tissue")
    job = Job(tmp_path)
    run(tasks, job, manifest)
    table = tables.read_table(manifest, columns=tables.MANIFEST)
    assert job.worked_on == ["s1", "s3", "s4"]
    assert list(table["excluded"]) == ["", "s2: no tissue", "", ""]


def test_other_errors_are_not_the_slides_fault(tasks, tmp_path, manifest):
    def work(task):
        raise InputError("weights do not fit")

    with pytest.raises(InputError, match="weights do not fit"):
        run(tasks, work, manifest, policy="exclude")


def test_reads_the_slides_that_bring_no_features(tmp_path):
    for name in ("a.svs", "b.svs", "c.h5", "7.svs"):
        (tmp_path / name).touch()
    sheet = tmp_path / "slides.csv"
    sheet.write_text("slide_id,patient_id,path,mpp,features\na,p,a.svs,0.25,\nb,p,b.svs,,\nc,p,,,c.h5\n007,p,7.svs,,\n")
    everything = read_tasks(sheet)
    assert [(task.slide_id, task.path.name, task.mpp) for task in everything] == [
        ("a", "a.svs", 0.25),
        ("b", "b.svs", None),
        ("007", "7.svs", None),
    ]
    assert [task.slide_id for task in read_tasks(sheet, slide_ids=["007", "b"])] == ["b", "007"]
    with pytest.raises(InputError, match="expected slides without ready-made features: c, found none"):
        read_tasks(sheet, slide_ids=["a", "c"])


def test_reads_the_rows_of_slides_that_are_not_there(tmp_path):
    sheet = tmp_path / "slides.csv"
    sheet.write_text("slide_id,patient_id,path,mask\na,p,gone.svs,gone.png\n")
    (task,) = read_tasks(sheet)
    assert (task.path, task.inputs) == (tmp_path / "gone.svs", {"mask": tmp_path / "gone.png"})
