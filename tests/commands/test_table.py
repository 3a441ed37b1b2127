"""The table of several studies: what stands in which cell, what is bold, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from tests.stages.test_report import CONFIG, write_study
from tta_pipeline.cli import run as command
from tta_pipeline.commands import table
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import paper_table, report_tables, tables
from tta_pipeline.stages import report


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Two studies: A of tta and genes, B of tta alone, whose epoch the test part chose."""
    folder = tmp_path_factory.mktemp("studies")
    for name, options in {"A": {}, "B": {"models": ("tta",), "chosen_on": "test"}}.items():
        (folder / name).mkdir()
        report.run(**write_study(folder / name, **options), out=folder / name / "results" / "report", config=CONFIG)
    return folder


def change(place, name, **columns):
    """Rewrite columns of a table of the report."""
    path = place / "results" / "report" / f"{name}.tsv"
    found = tables.read_table(path, columns=report_tables.TABLES[name]).assign(**columns)
    tables.write_table(path, found, columns=report_tables.TABLES[name])


def made(out):
    found = tables.read_table(out / "table.tsv", columns=paper_table.PAPER)
    return found.set_index(["model", "cohort"]), (out / "table.md").read_text(encoding="utf-8")


def test_every_model_has_a_cell_in_every_cohort(studies, tmp_path):
    assert command(["table", "--studies", f"A={studies}/A", f"B={studies}/B", "--out", str(tmp_path)]) == 0
    rows, text = made(tmp_path)
    labelled = "tta [chosen on the test part]"
    assert list(rows.index.get_level_values("model").unique()) == ["tta", "genes", labelled, "Kaplan-Meier (no model)"]
    assert rows.loc[("genes", "B"), "note"] == rows.loc[(labelled, "A"), "note"] == "not in this study"
    summary = pd.read_csv(studies / "A" / "results" / "report" / "summary.tsv", sep="\t").set_index("model")
    for model in ("tta", "genes"):
        for column in ("c_mean", "c_std_folds", "c_pooled"):
            assert rows.loc[(model, "A"), column] == pytest.approx(summary.loc[model, column])
        for end in ("low", "high"):
            assert rows.loc[(model, "A"), f"c_pooled_{end}"] == pytest.approx(summary.loc[model, f"c_{end}"])
        cell = f"{summary.loc[model, 'c_mean']:.3f} ± {summary.loc[model, 'c_std_folds']:.3f}"
        assert f"| {model} | {cell} |  |" in text
    assert rows.loc[("tta", "A"), "n_parameters"] == 1234
    assert "1,234" in text
    assert "- genes in B: not in this study." in text
    warned = pd.read_csv(studies / "B" / "results" / "report" / "warnings.tsv", sep="\t")["warning"]
    assert len(warned) > 0
    assert all(f"- B, warning: {one}" in text.replace("\\", "") for one in warned)
    assert "- [chosen on the test part]: the test patients chose the epoch" in text
    tex = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert tex.count(r"\begin{tabular}{lrr}") == tex.count(r"\end{tabular}") == 7
    assert r"$\pm$" in tex
    assert "±" not in tex


def test_the_first_is_bold_only_where_the_comparison_says_so(studies, tmp_path):
    place = tmp_path / "A"
    report_of = {"A": paper_table.read_report(studies / "A")}
    assert report_of["A"]["comparisons"]["verdict"].tolist() == ["no difference shown"]
    table.run(studies=[f"A={studies}/A"], out=tmp_path / "plain")
    rows, text = made(tmp_path / "plain")
    assert not rows["best"].any()
    assert "| **" not in text
    write = report_tables.TABLES
    for name in paper_table.READ:
        verdict = {"verdict": "tta higher"} if name == "comparisons" else {}
        tables.write_table(
            place / "results" / "report" / f"{name}.tsv", report_of["A"][name].assign(**verdict), columns=write[name]
        )
    (place / "results" / "report" / "index.html").write_text("")
    table.run(studies=[f"A={place}"], out=tmp_path / "bold")
    rows, text = made(tmp_path / "bold")
    assert rows.index[rows["best"]].tolist() == [("tta", "A")]
    assert text.count("| **0.") == 1  # the pooled C, which was compared, and nothing else
    pooled = rows.loc[("tta", "A"), ["c_pooled", "c_pooled_low", "c_pooled_high"]]
    assert "| tta | **{:.3f} ({:.3f} to {:.3f})** |".format(*pooled) in text
    assert "- Bold: a pooled C-index higher than every other model's" in text
    on_test = "tta [chosen on the test part]"
    change(place, "summary", model=[on_test, "genes"])
    change(place, "comparisons", model_a=on_test, verdict=f"{on_test} higher")
    table.run(studies=[f"A={place}"], out=tmp_path / "label")
    assert not made(tmp_path / "label")[0]["best"].any()


def test_the_kaplan_meier_row_and_scores_of_few_parts(studies, tmp_path):
    scores = paper_table.read_report(studies / "A")["scores_summary"]
    values = scores.assign(
        mean=scores["mean"].where(scores["metric"] != "ibs", 0.15),
        low=scores["low"].where(scores["metric"] != "ibs", 0.1),
        high=scores["high"].where(scores["metric"] != "ibs", 0.2),
        reference=scores["reference"].where(scores["metric"] != "ibs", 0.21),
        n_defined=scores["n_defined"].where(scores["metric"] != "ibs", 2),
    )
    place = tmp_path / "A" / "results" / "report"
    for name in paper_table.READ:
        own = values if name == "scores_summary" else paper_table.read_report(studies / "A")[name]
        tables.write_table(place / f"{name}.tsv", own, columns=report_tables.TABLES[name])
    (place / "index.html").write_text("")
    table.run(studies=[f"A={place}"], out=tmp_path / "out")  # the folder of the report itself
    rows, text = made(tmp_path / "out")
    assert rows.loc[("Kaplan-Meier (no model)", "A"), "ibs"] == 0.21
    assert rows.loc[("tta", "A"), "ibs"] == 0.15
    assert "| Kaplan-Meier (no model) | 0.210 |" in text
    assert "| tta | 0.150 (0.100 to 0.200) |" in text
    assert "- tta in A: integrated Brier score of 2 of 3 test parts (fewer than two times within the follow-up" in text


def test_a_model_of_fewer_folds_or_parts_says_so(studies, tmp_path):
    place = tmp_path / "A" / "results" / "report"
    for name in paper_table.READ:
        own = paper_table.read_report(studies / "A")[name]
        if name == "summary":
            own = own.assign(n_folds=[3, 2], n_seeds=[1, 1], n_parts=[3, 2], n_defined=[2, 2])
        tables.write_table(place / f"{name}.tsv", own, columns=report_tables.TABLES[name])
    (place / "index.html").write_text("")
    table.run(studies=[f"A={place}"], out=tmp_path / "out")
    rows, text = made(tmp_path / "out")
    assert rows.loc[("tta", "A"), "note"].startswith("C-index of 2 of 3 test parts; ")
    assert rows.loc[("genes", "A"), "note"].startswith("results of 2 of 3 folds; ")
    assert "- genes in A: results of 2 of 3 folds; " in text


def test_a_value_without_spread_or_interval_stands_alone(studies, tmp_path):
    place = tmp_path / "A" / "results" / "report"
    for name in paper_table.READ:
        own = paper_table.read_report(studies / "A")[name]
        if name == "summary":
            own = own.assign(c_mean=0.7, c_pooled=0.6, c_std_folds=np.nan, c_low=np.nan, c_high=np.nan)
        if name == "scores_summary":
            own = own.assign(mean=0.5, low=np.nan, n_defined=2, reason="too few")
        tables.write_table(place / f"{name}.tsv", own, columns=report_tables.TABLES[name])
    (place / "index.html").write_text("")
    table.run(studies=[f"A={place}"], out=tmp_path / "out")
    _, text = made(tmp_path / "out")
    assert all(f"| tta | {cell} |" in text for cell in ("0.700", "0.600", "0.500"))
    assert "nan" not in text
    assert "Uno's C of 2 of 3 test parts (too few); integrated Brier score of 2 of 3 test parts (too few)." in text


def test_a_note_that_begins_with_a_bracket_is_no_label_of_its_item(studies, tmp_path):
    table.run(studies=[f"B={studies}/B"], out=tmp_path)
    tex = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert r"\item\relax [chosen on the test part]: " in tex
    assert r"\item [" not in tex


def test_folds_are_counted_over_repeats_and_against_the_splits(studies, tmp_path):
    place = tmp_path / "A" / "results" / "report"
    for name in paper_table.READ:
        own = paper_table.read_report(studies / "A")[name]
        if (
            name == "summary"
        ):  # 2 repeats of 5 folds and 3 seeds: no model has the last fold, one lacks a half and a seed
            own = own.assign(n_repeats=2, n_folds=[9, 5], n_seeds=3, n_parts=[27, 14], n_defined=[27, 14], reason="")
        if name == "events":
            ten = [(repeat, fold) for repeat in range(2) for fold in range(5)]
            own = own.iloc[[0] * 10].assign(repeat=[one for one, _ in ten], fold=[one for _, one in ten])
        tables.write_table(place / f"{name}.tsv", own, columns=report_tables.TABLES[name])
    (place / "index.html").write_text("")
    table.run(studies=[f"A={place}"], out=tmp_path / "out")
    rows, _ = made(tmp_path / "out")
    assert rows.loc[("tta", "A"), "note"].split("; ")[0] == "results of 9 of 10 folds"
    assert rows.loc[("genes", "A"), "note"].split("; ")[:2] == [
        "results of 5 of 10 folds",
        "results of 14 of 15 fits by seed in its folds",
    ]
    assert "fits by seed" not in rows.loc[("tta", "A"), "note"]


def test_the_notes_say_of_which_level_intervals_are_and_what_an_epoch_holds(studies, tmp_path):
    table.run(studies=[f"A={studies}/A"], out=tmp_path)
    text = made(tmp_path)[1]
    assert ". Intervals: 95%, percentiles of 100 bootstrap samples of patients. Uno's C up to " in text
    assert "and so is the scoring of validation patients after each epoch" in text


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ([], "at least one NAME=FOLDER, found none"),
        (["A"], "expected NAME=FOLDER, such as STAD=studies/stad, found 'A'"),
        (["=x"], "found '=x'"),
        (["A=x", "A=y"], "each name once, found A for x and y"),
        (["A=nowhere"], "nowhere: expected a study with a finished report .*, found none. Run the study to its end"),
    ],
)
def test_what_is_refused(tmp_path, given, match):
    with pytest.raises(InputError, match=match):
        table.run(studies=given, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_report_that_lacks_a_table_or_is_of_another_version(tmp_path):
    place = tmp_path / "old" / "results" / "report"
    place.mkdir(parents=True)
    (place / "index.html").write_text("")
    with pytest.raises(InputError, match=r"found one without summary\.tsv, comparisons\.tsv"):
        table.run(studies=[f"A={tmp_path}/old"], out=tmp_path / "out")
    for name in paper_table.READ:
        (place / f"{name}.tsv").write_text("model\n")
    with pytest.raises(ArtifactError, match=r"summary\.tsv: expected columns"):
        table.run(studies=[f"A={tmp_path}/old"], out=tmp_path / "out")


def test_endpoint_and_warnings_of_each_study_stand_below_the_table(studies, tmp_path):
    place = tmp_path / "B" / "results" / "report"
    tables_of = paper_table.read_report(studies / "A") | {
        "study": pd.DataFrame({"what": ["Endpoint", "Slides"], "value": ["DSS", "slides.tsv"]}),
        "warnings": pd.DataFrame({"number": [1, 2], "warning": ["Sites, both, are shared.", "Fold 0 has 3 events."]}),
    }
    for name, own in tables_of.items():
        tables.write_table(place / f"{name}.tsv", own, columns=report_tables.TABLES[name])
    (place / "index.html").write_text("")
    table.run(studies=[f"A={studies}/A", f"B={place}"], out=tmp_path / "out")
    lines = made(tmp_path / "out")[1].splitlines()
    assert [line for line in lines if "B, warning: " in line] == [
        "- B, warning: Sites, both, are shared.",
        "- B, warning: Fold 0 has 3 events.",
    ]
    sizes = [line for line in lines if "test patients with" in line]
    assert " events. Intervals: " in sizes[0]  # its report was made without the inputs
    assert " events, DSS. " in sizes[1]


def test_a_report_of_an_older_version_is_refused(studies, tmp_path):
    place = tmp_path / "A" / "results" / "report"
    for name, own in paper_table.read_report(studies / "A").items():
        if name != "warnings":
            tables.write_table(place / f"{name}.tsv", own, columns=report_tables.TABLES[name])
    (place / "index.html").write_text("")
    with pytest.raises(InputError, match=r"one without warnings\.tsv"):
        table.run(studies=[f"A={place}"], out=tmp_path / "out")


def test_a_model_that_lacks_a_seed_of_the_others_says_so(studies, tmp_path):
    place = tmp_path / "A" / "results" / "report"
    for name, own in paper_table.read_report(studies / "A").items():
        fewer = own.assign(n_seeds=[3, 2], n_parts=[9, 6], n_defined=[9, 6], reason="") if name == "summary" else own
        tables.write_table(place / f"{name}.tsv", fewer, columns=report_tables.TABLES[name])
    (place / "index.html").write_text("")
    table.run(studies=[f"A={place}"], out=tmp_path / "out")
    rows, _ = made(tmp_path / "out")
    assert "results of 2 of 3 seeds" in rows.loc[("genes", "A"), "note"].split("; ")
    assert "seeds" not in rows.loc[("tta", "A"), "note"]
