"""What runs again after which change, as docs/reruns.md says: a test for each row of its table."""

import base64
import re
import shutil
from collections.abc import Callable

import pandas as pd
import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import Workflow

TILES = {"tiles", "features", "train", "evaluate", "report"}
TRAIN = {"train", "evaluate", "report"}
ALL = {"cohort", "pathways", "splits"} | TRAIN
Change = Callable[[Workflow], object]


def edit(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    """A changed table of the inputs."""

    def apply(study: Workflow) -> None:
        path = study.folder / "input" / name
        change(pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)).to_csv(path, sep="\t", index=False)

    return apply


def touch(name: str) -> Change:
    """Files of the inputs with a new time and the old content."""
    return lambda study: [path.touch() for path in (study.folder / "input").glob(name)]


def delete(*names: str) -> Change:
    return lambda study: [(study.folder / "results" / name).unlink() for name in names]


def another_slide(study: Workflow) -> None:
    """One slide replaced by another one."""
    sheet = pd.read_csv(study.folder / "input" / "slides.tsv", sep="\t", dtype=str)
    slides = [study.folder / "input" / path for path in sheet["path"]]
    sizes = [slide.stat().st_size for slide in slides]
    other = next(number for number, size in enumerate(sizes) if size != sizes[0])
    shutil.copy(slides[other], slides[0])


def later(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(time_days=[table["time_days"][0] + "0", *table["time_days"][1:]])


def rename_folder(study: Workflow) -> None:
    """Another folder of slides, which the sheet names."""
    (study.folder / "input" / "slides").rename(study.folder / "input" / "moved")
    edit("slides.tsv", lambda table: table.assign(path=table["path"].str.replace("slides/", "moved/")))(study)


def take_away(study: Workflow) -> None:
    for path in (study.folder / "input").glob("**/*.svs"):
        path.unlink()


# The first column of docs/reruns.md -> a change of that kind, and the rules that it plans.
ROWS: dict[str, tuple[Change, set[str]]] = {
    "nothing": (lambda study: None, set()),
    "a key of `inputs`": (lambda study: study.configure(inputs={"check_event_rate": False}), ALL),
    "a key of `cohort`": (lambda study: study.configure(cohort={"zero_time": "fail"}), ALL),
    "`cohort.slides_per_job`": (lambda study: study.configure(cohort={"slides_per_job": 5}), ALL),
    "a key of `bad_slides`": (lambda study: study.configure(bad_slides={"limit": 2}), ALL),
    "a key of `tiles`": (lambda study: study.configure(tiles={"min_tissue": 0.4}), TILES),
    "a key of `features`": (
        lambda study: study.configure(features={"precision": "bf16"}),
        {"features"} | TRAIN,
    ),
    "`features.batch_size`, `decode_threads`": (lambda study: study.configure(features={"batch_size": 3}), set()),
    "a key of `pathways`": (lambda study: study.configure(pathways={"min_genes": 2}), {"pathways"} | TRAIN),
    "a key of `splits`": (lambda study: study.configure(splits={"seed": 1}), {"splits"} | TRAIN),
    "a key of one model": (lambda study: study.configure(models={"tta": {"prototypes": 5}}), TRAIN),
    "a further model": (lambda study: study.configure(models={"mlp": {"architecture": "mlp"}}), TRAIN),
    "a key of `train`": (lambda study: study.configure(train={"epochs": 2}), TRAIN),
    "a key of `evaluate`": (lambda study: study.configure(evaluate={"max_patches": 7}), {"evaluate", "report"}),
    "a key of `report`": (lambda study: study.configure(report={"seed": 1}), {"report"}),
    "a row more in the sheet of slides": (
        edit(
            "slides.tsv",
            lambda table: (
                pd.concat([table, table.tail(1).assign(slide_id="more", path=table["mask"])])
                if "mask" in table
                else pd.concat([table, table.head(1).assign(slide_id="more")])
            ),
        ),
        {"cohort", "tiles", "features"} | ALL,
    ),
    "a row less in the sheet of slides": (edit("slides.tsv", lambda table: table.iloc[1:]), ALL | TILES),
    "the order of the sheet of slides": (edit("slides.tsv", lambda table: table.iloc[::-1]), ALL),
    "the folder of slides": (rename_folder, ALL),
    "`mpp` of a slide": (edit("slides.tsv", lambda table: table.assign(mpp=["0.51", *table["mpp"][1:]])), ALL | TILES),
    "`mpp` of a slide written otherwise": (
        edit("slides.tsv", lambda table: table.assign(mpp=[f"{mpp}0" if "." in mpp else mpp for mpp in table["mpp"]])),
        ALL,
    ),
    "an outcome": (edit("clinical.tsv", later), ALL),
    "a value of the expression": (
        edit("expression.tsv", lambda table: table.assign(**{table.columns[1]: "1.5"})),
        ALL,
    ),
    "the content of a slide": (another_slide, TILES),
    "slides that have gone": (take_away, set()),
    "the time of slides": (touch("**/*.svs"), set()),
    "the time of tables below 50 MB": (touch("*.tsv"), set()),
    "`results/report/summary.tsv` deleted": (delete("report/summary.tsv"), {"report"}),
    "`results/pathways.h5`, a file of `results/train` or a manifest deleted": (
        delete("pathways.h5", "train/tta/r0_f0_s0.h5", "features/batches/b0001.tsv"),
        {"features", "pathways"} | TRAIN,
    ),
}


def planned(study: Workflow, *arguments: str) -> set[str]:
    return set(study.planned(*arguments)) - {"all", "default"}


@pytest.mark.parametrize("row", ROWS)
def test_what_a_change_plans(study: Workflow, row: str) -> None:
    change, rules = ROWS[row]
    change(study)
    assert planned(study) == rules


def test_every_row_of_the_page_has_a_test() -> None:
    text = (ROOT / "docs" / "reruns.md").read_text(encoding="utf-8")
    table = text.split("## After a change")[1].split("\n## ")[0]
    found = re.findall(r"^\| (.+?) \| (.+?) \|$", table, flags=re.MULTILINE)[2:]
    assert [name for name, _ in found] == list(ROWS)
    for name, said in found:
        rules = set(re.findall(r"`(\w+)`", said))
        assert rules == ROWS[name][1], name


@pytest.mark.slow
def test_a_key_of_train_leaves_a_model_alone_that_is_not_trained_by_it(study: Workflow) -> None:
    study.configure(models={"forest": {"architecture": "survival-forest"}})
    study.succeed("--until", "train")
    study.configure(train={"epochs": 2})
    assert study.planned("--until", "train")["train"] == 2  # both folds of tta


@pytest.mark.parametrize(
    ("arguments", "rules"),
    [
        (["--forcerun", "train"], TRAIN),
        (["--until", "features", "--forcerun", "features"], {"features"}),
        (["--omit-from", "train", "--forcerun", "splits"], {"splits"}),
        (["results/train/tta/r0_f1_s0.h5", "--forcerun", "train"], {"train"}),
    ],
)
def test_what_an_argument_plans(study: Workflow, arguments: list[str], rules: set[str]) -> None:
    targets = [one for one in arguments if one.startswith("results/")]
    rest = [one for one in arguments if one not in targets]
    assert planned(study, *rest, *(["--", *targets] if targets else [])) == rules


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"pathways": {"min_genes": 10**6}}, {"pathways"} | TRAIN),
        pytest.param({"models": {"tta": {"prototypes": 4000}}}, TRAIN, marks=pytest.mark.slow),
    ],
)
def test_after_a_run_that_failed_the_same_call_is_not_done(
    study: Workflow, change: dict[str, dict[str, object]], failed: set[str]
) -> None:
    """Snakemake deletes what a job made before it runs: what was made of it earlier must not count as up to date."""
    before = study.configfile.read_text(encoding="utf-8")
    study.configure(**change)
    assert study.run().returncode != 0
    assert planned(study) == failed
    study.configfile.write_text(before, encoding="utf-8")
    assert planned(study) == failed


def test_a_batch_computes_again_only_the_slide_that_has_changed(study: Workflow) -> None:
    """Beside one whose row was taken out, and one that is away for a while."""
    sheet = pd.read_csv(study.folder / "input" / "slides.tsv", sep="\t", dtype=str)
    with (study.folder / "input" / sheet["path"][0]).open("ab") as slide:
        slide.write(b"more")
    edit("slides.tsv", lambda table: pd.concat([table.iloc[2:], table.iloc[:1]]))(study)
    away = study.folder / "input" / sheet["path"][2]
    away.rename(away.with_suffix(".away"))
    results = study.folder / "results"
    before = {file: file.stat().st_mtime_ns for file in (*results.glob("tiles/*.h5"), *results.glob("features/*.h5"))}
    manifest = "results/features/batches/b0001.tsv"
    study.succeed("--", manifest)
    again = {file.stem for file, time_ns in before.items() if file.stat().st_mtime_ns > time_ns}
    assert again == {sheet["slide_id"][0]}
    assert away.name.removesuffix(".svs") in (study.folder / manifest).read_text(encoding="utf-8")
    away.with_suffix(".away").rename(away)
    assert planned(study, "--", manifest) == set()


@pytest.mark.parametrize(("forced", "again"), [([], 0), (["tiles"], 1)])
def test_a_job_on_another_machine_is_told_whether_it_is_forced(study: Workflow, forced: list[str], again: int) -> None:
    """Its own command line does not say it, and bears --force always, as that of a scheduler's job does."""
    study.succeed("--touch", "--forcerun", "report", *forced)
    job = ["--mode", "remote", "--force", "--target-jobs", "features:batch=b0001", "--allowed-rules", "features"]
    said = study.succeed("--dry-run", "--nolock", "--quiet", "host", *job)
    assert f"again={again}" in said


def test_touch_takes_results_as_up_to_date(study: Workflow) -> None:
    study.configure(report={"seed": 1})
    (study.folder / "results" / "splits.tsv").touch()
    study.succeed("--touch")
    assert planned(study) == set()


def test_an_output_that_was_left_incomplete_is_made_again(study: Workflow) -> None:
    """As Snakemake's own mark in .snakemake/incomplete says it after a crash."""
    marks = study.folder / ".snakemake" / "incomplete"
    marks.mkdir(exist_ok=True)
    name = base64.b64encode(b"results/splits.tsv").decode()
    (marks / name).write_text('{"external_jobid": null}')
    assert planned(study) >= {"splits"}
