"""The report of small simulated studies: its numbers, its page, what it warns of and what it refuses."""

import base64
import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines.utils import concordance_index
from PIL import Image

from tta_pipeline.cli import run as command
from tta_pipeline.config import Inputs, Report
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import artifacts, report_tables, tables
from tta_pipeline.reporting import fits, pictures
from tta_pipeline.stages import report

PATIENTS, FOLDS = 60, 3
CONFIG = Report(bootstrap=100)
MISSING = ";".join(f"M{number}" for number in range(8))
COVERAGE = [
    ("HYPOXIA", 20, 18, 2, 1, True, "VEGFA;PDK1", "CARS1=CARS;NECTIN1=PVRL1"),
    ("whole", 3, 3, 1, 0, True, "", "CARS1=CARS"),
    ("small", 9, 1, 0, 0, False, MISSING, ""),
]


def write_study(
    folder: Path,
    *,
    models=("tta", "genes"),
    seeds=1,
    no_events_in_fold=None,
    median=True,
    quality=1.0,
    chosen_on="last epoch",
    covariates=None,
    trained_by="cox",
):
    """Arguments of `report.run` for a study whose first model knows more of the true risk than the second."""
    generator = np.random.default_rng(0)
    names = [f"P{number:02d}" for number in range(PATIENTS)]
    truth = generator.normal(size=PATIENTS)
    fold_of = np.arange(PATIENTS) % FOLDS
    time_days = generator.exponential(900 * np.exp(-2 * truth)) + 1
    survival = np.exp(-0.7 * 365 / 900 * np.exp(2 * truth))[:, None]  # 0.7: of the deaths are seen
    event = (generator.random(PATIENTS) < 0.7) & (fold_of != no_events_in_fold)

    def table(name, columns, rows):
        path = folder / f"{name}.tsv"
        tables.write_table(path, pd.DataFrame(rows, columns=list(columns)), columns=columns)
        return path

    def role(patient, fold):
        return "test" if fold_of[patient] == fold else "validation" if patient % 10 == 0 else "train"

    given = {
        "patients": table(
            "patients", tables.PATIENTS, [(names[p], names[p], time_days[p], event[p], 1) for p in range(PATIENTS)]
        ),
        "slides": table("slides", tables.SLIDES, [(f"s{name}", name, "", np.nan, f"{name}.h5") for name in names]),
        "attrition": table("attrition", tables.ATTRITION, [("patient", "Q1", "Q1", "cohort", "no <RNA>")]),
        "manifests": [],
        "covariates": table("covariates", tables.COVARIATES, covariates or []),
        "coverage": table("coverage", tables.COVERAGE, COVERAGE),
        "splits": table(
            "splits",
            tables.SPLITS,
            [(0, fold, names[p], role(p, fold)) for fold in range(FOLDS) for p in range(PATIENTS)],
        ),
        "trained": [],
        "evaluated": [],
    }
    pd.DataFrame({"patient_id": names, "risk": truth}).to_csv(folder / "truth.tsv", sep="\t", index=False)
    inputs = {name: given[name] for name in ("patients", "splits")}
    for number, model in enumerate(models):
        for fold in range(FOLDS):
            for seed in range(seeds):
                risk = quality * truth + generator.normal(0, 0.3 + 4 * number, PATIENTS)
                test = np.flatnonzero(fold_of == fold)
                train = [p for p in range(PATIENTS) if role(p, fold) == "train"]
                about = {"name": model, "repeat": 0, "fold": fold, "seed": seed, "n_train": len(train)}
                about["chosen_on"] = chosen_on
                about["n_train_events"] = int(event[train].sum())
                given["evaluated"].append(folder / "evaluate" / model / f"r0_f{fold}_s{seed}.h5")
                artifacts.write_predictions(
                    given["evaluated"][-1],
                    artifacts.Predictions(
                        patient_id=[names[p] for p in test],
                        risk=risk[test],
                        time_days=time_days[test],
                        event=event[test],
                        survival=survival[test].astype(np.float32),
                        horizons_days=np.array([365.0]),
                        curves=survival[test].astype(np.float32),
                        curve_days=np.array([365.0]),
                        exchanged={"genomics": np.stack([np.roll(risk[test], 1 + draw) for draw in range(3)])},
                        attributes=about,
                    ),
                    options={"max_patches": 100},
                    inputs=inputs,
                )
                given["trained"].append(folder / "train" / model / f"r0_f{fold}_s{seed}.h5")
                about |= {"n_parameters": 1234, "recipe": {"epochs": 3, "loss": trained_by}}
                architecture = "clinical-cox" if model == "clinical" else "tta"
                about["model"] = {
                    "architecture": architecture,
                    "anchors": number == 0,
                    "modalities": ["a", "b"][: number + 1],
                }
                known = {fits.TRAIN_MEDIAN: float(np.median(risk[train]))} if median else {}
                loss = np.array([3.0, 2.0 + 0.1 * fold, np.nan])
                artifacts.write_checkpoint(
                    given["trained"][-1],
                    artifacts.Checkpoint({}, {}, {}, {"train_c_index": loss / 4, "loss": loss}, about | known),
                    options={"epochs": 3},
                    inputs=inputs,
                )
    return given


def read(out, name):
    return tables.read_table(out / f"{name}.tsv", columns=report_tables.TABLES[name])


def test_the_job_of_a_search_trained_all_its_combinations():
    about = {"name": "m", "repeat": 0, "fold": 0, "seed": 0, "n_parameters": 7, "recipe": {"epochs": 3}}
    made = {"once": {"search": []}, "grid": {"search": [{"learning_rate": 0.1}] * 4}, "older": {}}
    found = fits.fit_table({name: [artifacts.Checkpoint({}, {}, {}, {}, about | own)] for name, own in made.items()})
    assert found["epochs"].tolist() == [3, 12, 3]
    assert found["epochs_run"].tolist() == [3, 12, 3]


def test_a_job_that_took_up_a_training_is_measured_by_the_epochs_that_it_trained():
    about = {"name": "m", "repeat": 0, "fold": 0, "seed": 0, "n_parameters": 7, "recipe": {"epochs": 30}}
    made = {str(run): [artifacts.Checkpoint({}, {}, {}, {}, about | {"epochs_run": run})] for run in (30, 6, 0)}
    found = fits.fit_table(made)
    assert found["epochs"].tolist() == [30, 30, 30]
    assert found["epochs_run"].tolist()[:2] == [30, 6]
    assert np.isnan(found["epochs_run"].iloc[2])


def test_fits_of_different_settings_are_seen_and_what_a_search_chose_is_not_one():
    def fitted(name, recipe, **about):
        about = {
            "name": name,
            "model": {"architecture": "tta"},
            "recipe": {"epochs": 3, "learning_rate": 0.1} | recipe,
        } | about
        return artifacts.Checkpoint({}, {}, {}, {}, about)

    tried, others = ({"search": [{"learning_rate": rate, "weight_decay": 0.0}]} for rate in (0.1, 1.0))
    pairs = {
        "same": [({}, {}), ({}, {})],
        "searched": [({}, tried), ({"learning_rate": 1.0}, tried)],
        "cache": [({"cache_gb": 1.0}, {}), ({"cache_gb": 2.0}, {})],
        "rate": [({}, {}), ({"learning_rate": 1.0}, {})],
        "grid": [({}, tried), ({}, others)],
        "epochs": [({}, tried), ({"epochs": 4}, tried)],
        "options": [({}, {}), ({}, {"model": {"architecture": "tta", "anchors": False}})],
    }
    made = {name: [fitted(name, recipe, **about) for recipe, about in both] for name, both in pairs.items()}
    chosen = [fitted("chosen", {"checkpoint": checkpoint}) for checkpoint in ("last", "published")]
    made |= {"chosen": chosen[:1], f"chosen{fits.ON_TEST}": chosen[1:]}
    assert fits.mixed_settings(made) == ["rate", "grid", "epochs", "options", "chosen"]


@pytest.mark.parametrize(("loss", "warned"), [("nll", True), ("cox", False)])
def test_survival_of_models_of_binned_follow_up_is_warned_of(tmp_path, loss, warned):
    report.run(**write_study(tmp_path, trained_by=loss), out=tmp_path / "report", config=CONFIG)
    said = read(tmp_path / "report", "warnings")["warning"]
    assert said.str.startswith("tta; genes: trained with loss nll").any() == warned


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Arguments of a sound study and the folder of its report, with the true risk."""
    folder = tmp_path_factory.mktemp("study")
    given = write_study(folder)
    config = CONFIG.model_copy(update={"truth": folder / "truth.tsv"})
    report.run(**given, out=folder / "report", config=config)
    return given, folder / "report"


class Page(HTMLParser):
    """Tags and addresses of a page; fails on tags that do not match."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.ids, self.count = [], [], [], Counter()

    def handle_starttag(self, tag, attrs):
        self.count[tag] += 1
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_numbers_are_those_of_lifelines(study):
    given, out = study
    metrics, summary = read(out, "metrics"), read(out, "summary").set_index("model")
    assert len(metrics) == 2 * FOLDS
    expected = {}
    for path in given["evaluated"]:
        found = artifacts.read_predictions(path)
        c = concordance_index(found.time_days, -found.risk, found.event)
        row = metrics[(metrics["model"] == found.attributes["name"]) & (metrics["fold"] == found.attributes["fold"])]
        assert row["c_index"].item() == pytest.approx(c)
        assert row["n_train_events"].item() == found.attributes["n_train_events"]
        expected.setdefault(found.attributes["name"], []).append(c)
    for model, values in expected.items():
        assert summary.loc[model, "c_mean"] == pytest.approx(np.mean(values))
        assert summary.loc[model, "c_std_folds"] == pytest.approx(np.std(values, ddof=1))
        assert summary.loc[model, "c_low"] < summary.loc[model, "c_pooled"] < summary.loc[model, "c_high"]
    assert list(summary.index) == ["tta", "genes"]  # in the order given
    assert (summary["c_true_risk"] > 0.7).all()
    pair = read(out, "comparisons").iloc[0]
    assert pair["c_low"] > 0
    assert pair["p_bootstrap"] < 0.05 < pair["p_folds"] == pair["p_corrected"]  # three parts, one without events
    assert pair["verdict"] == "no difference shown"


def test_the_page_stands_alone_and_is_whole(study):
    _, out = study
    text = (out / "index.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not re.search(r"https?://|@import|url\(", text)
    assert len(set(page.ids)) == len(page.ids)
    assert page.count["img"] == page.count["figcaption"] == len(list(out.glob("*.png")))
    for address in page.addresses:
        with Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))) as image:
            assert image.width >= 1000
    assert "no &lt;RNA&gt;" not in text  # reasons stand in the figure, and nothing unescaped in the page
    assert "<RNA>" not in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower().replace("provenance", "")


def test_the_page_says_what_the_tables_say(study):
    _, out = study
    text = (out / "index.html").read_text(encoding="utf-8")
    for row in read(out, "summary").to_dict("records"):
        assert f"{row['c_pooled']:.3f} {_interval(row['c_low'], row['c_high'])}" in text
        assert f"{row['c_mean']:.3f} ± {row['c_std_folds']:.3f}" in text
    assert "C of the true risk" in text
    assert "Uno&#39;s C" in text
    assert "What each modality is worth" in text
    scores = read(out, "scores_summary")
    assert set(scores["model"]) == set(read(out, "summary")["model"])
    for row in scores[scores["metric"] == "uno_c"].to_dict("records"):
        cell = f"<td>{row['mean']:.3f} ± {row['std_folds']:.3f}<br>"
        assert f"{cell}{_interval(row['low'], row['high'])}" in text
    for row in read(out, "metrics").to_dict("records"):
        assert f"<td>{row['c_index']:.3f} {_interval(row['c_low'], row['c_high'])}</td>" in text
    assert "median risk of the fold's training patients" in text.replace("&#39;", "'")
    (said,) = read(out, "warnings")["warning"]
    assert said.startswith("No difference is shown in 1 of 1 pairs of models")
    assert f"<li>{said}</li>" in text
    assert "max_patches" in text  # options of the artifacts
    assert "small (1 of 9)." in text  # a gene set that was left out
    assert (
        "Genes: 32 in 3 sets, one of two sets counted twice; 22 (69%) were measured, 3 of them under another name "
        "(CARS1 as CARS, NECTIN1 as PVRL1), 1 in several rows; 10 are missing."
    ) in text
    rows = re.findall(r"<td[^>]*>(?:small|HYPOXIA|whole)</td>.*?</tr>", text, flags=re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    assert cells == [  # the sets that miss most come first, and those that miss nothing do not come
        ["small", "9", "1", "0", "8", "M0, M1, M2, M3, M4, M5, …"],
        ["HYPOXIA", "20", "18", "2", "2", "VEGFA, PDK1"],
    ]


def _interval(low: float, high: float) -> str:
    return f'<span class="interval">({low:.3f} to {high:.3f})</span>'


@pytest.mark.parametrize(
    ("named", "endpoint"),
    [
        ({"endpoint": "DSS"}, "DSS"),
        (
            {"time_column": "DSS.time", "event_column": "dead", "event_means": "censorship"},
            "DSS.time (days), dead (1 = censored)",
        ),
    ],
)
def test_the_page_names_the_endpoint_and_the_files_but_no_folder(study, tmp_path, named, endpoint):
    given, _ = study
    files = {name: f"/home/somebody/{name}.tsv" for name in ("slides", "clinical", "expression", "gene_sets")}
    report.run(**given, out=tmp_path, config=CONFIG, inputs=Inputs(**files, **named))
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert f"Endpoint: <code>{endpoint}</code>; Clinical table: <code>clinical.tsv</code>;" in text
    assert "Gene sets: <code>gene_sets.tsv</code>; Intervals: <code>95%, percentiles of 100 bootstrap" in text
    assert "somebody" not in text


def test_the_same_inputs_give_the_same_bytes(study, tmp_path):
    given, out = study
    config = CONFIG.model_copy(update={"truth": out.parent / "truth.tsv"})
    report.run(**given, out=tmp_path, config=config)
    names = sorted(path.name for path in out.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_a_fold_without_events_is_named_and_not_zero(tmp_path):
    given = write_study(tmp_path, no_events_in_fold=1, models=("tta",))
    report.run(**given, out=tmp_path / "out", config=CONFIG)
    metrics = read(tmp_path / "out", "metrics")
    assert metrics["c_index"].isna().tolist() == [False, True, False]
    assert metrics["reason"].tolist() == ["", "no events among 20 patients", ""]
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "2 of 3" in text
    assert "Read this first" in text
    assert "1 of 3 C-indices are undefined" in text
    assert "1 of 3 test parts have fewer than 10 events" in text
    assert "Pairs of models" not in text
    assert not (tmp_path / "out" / "comparisons.png").exists()


def test_without_the_training_median_no_test_patient_makes_a_cut_off(tmp_path):
    report.run(**write_study(tmp_path, median=False, models=("tta",)), out=tmp_path / "out", config=CONFIG)
    (row,) = read(tmp_path / "out", "groups").to_dict("records")
    assert (row["n_low"], row["n_high"]) == (0, 0)
    assert np.isnan(row["p"])
    assert row["reason"] == "no median risk of the training patients in 3 of 3 folds: train again"
    assert row["reason"] in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "survival_tta.png").is_file()


def test_what_a_reader_must_know_first(tmp_path, caplog):
    given = write_study(tmp_path, models=("tta",), quality=-1.0)
    given["trained"] = []
    patients = tables.read_table(given["patients"], columns=tables.PATIENTS)
    patients.loc[0, "time_days"] += 1
    tables.write_table(given["patients"], patients, columns=tables.PATIENTS)
    report.run(**given, out=tmp_path / "out", config=CONFIG)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "tta: the whole interval of the C-index is below 0.5" in said
    assert "3 artifacts of the evaluate stage were made from another patients.tsv than this report" in said
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "snakemake --forcerun evaluate" in text
    assert "training curves" not in text


def test_two_seeds_are_averaged_and_their_spread_is_shown(tmp_path):
    given = write_study(tmp_path, models=("tta",), seeds=2)
    report.run(**given, out=tmp_path / "out", config=CONFIG)
    row = read(tmp_path / "out", "summary").iloc[0]
    assert row["n_seeds"] == 2
    assert row["c_std_seeds"] >= 0
    pooled = read(tmp_path / "out", "pooled")
    assert row["c_pooled"] == pytest.approx(pooled["c_index"].mean())
    assert "Each repeat and seed" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_from_the_command_line_with_benchmarks(study, tmp_path):
    given, _ = study
    benchmark = tmp_path / "benchmarks" / "train" / "tta" / "r0_f0_s0.tsv"
    of_old = tmp_path / "benchmarks" / "train" / "old" / "r0_f0_s0.tsv"
    for path, seconds in ((benchmark, 12.5), (of_old, 99.5)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:12\t-\n")
    arguments = [
        "report",
        "--out",
        str(tmp_path / "out"),
        "--config",
        '{"bootstrap": 100}',
        "--benchmarks",
        str(benchmark),
        str(of_old),
    ]
    for name, value in given.items():
        arguments += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    assert command(arguments) == 0
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Time and memory" in text
    assert "12.5" in text
    assert "99.5" not in text  # of a model that the study has no more
    costs = read(tmp_path / "out", "costs").set_index("model")
    assert costs.loc["tta", ["n_fits", "n_jobs", "n_parameters", "epochs"]].tolist() == [3, 1, 1234, 3]
    assert costs.loc["tta", "seconds_per_epoch"] == pytest.approx(12.5 / 3)
    assert costs.loc["genes", ["seconds_per_epoch", "peak_mb"]].isna().all()
    assert "<td>1,234</td><td>3</td>" in text


def refused(study, tmp_path, *, error, match, **changes):
    given, _ = study
    config = changes.pop("config", CONFIG)
    with pytest.raises(error, match=match):
        report.run(**given | changes, out=tmp_path / "out", config=config)
    assert not (tmp_path / "out").exists()


def test_no_results(study, tmp_path):
    refused(study, tmp_path, error=InputError, match="--evaluated: expected the artifacts", evaluated=[])


def test_two_files_for_one_fit(study, tmp_path):
    twice = [*study[0]["evaluated"], study[0]["evaluated"][0]]
    refused(study, tmp_path, error=InputError, match="one file per model, repeat, fold and seed", evaluated=twice)


def test_a_patient_who_was_trained_on(study, tmp_path):
    table = tables.read_table(study[0]["splits"], columns=tables.SPLITS)
    table["role"] = table["role"].replace({"test": "train", "train": "test"})
    tables.write_table(tmp_path / "splits.tsv", table, columns=tables.SPLITS)
    refused(study, tmp_path, error=InputError, match="to be test patients of", splits=tmp_path / "splits.tsv")


def rewritten(path, to, **changes):
    found = artifacts.read_predictions(path)
    values = {name: getattr(found, name) for name in found.__dataclass_fields__} | changes
    artifacts.write_predictions(to, artifacts.Predictions(**values), options={}, inputs={})
    return [to]


def test_a_risk_that_is_nan(study, tmp_path):
    bad = rewritten(study[0]["evaluated"][0], tmp_path / "bad.h5", risk=np.full(20, np.nan))
    refused(study, tmp_path, error=ArtifactError, match=r"bad\.h5: expected finite risk", evaluated=bad)


def test_missing_attributes(study, tmp_path):
    bad = rewritten(study[0]["evaluated"][0], tmp_path / "bad.h5", attributes={"name": "tta", "repeat": 0})
    refused(study, tmp_path, error=ArtifactError, match=r"attributes \['fold', 'n_train'", evaluated=bad)
    artifacts.write_checkpoint(tmp_path / "t.h5", artifacts.Checkpoint({}, {}, {}, {}, {}), options={}, inputs={})
    refused(study, tmp_path, error=ArtifactError, match=r"t\.h5: expected the attributes", trained=[tmp_path / "t.h5"])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "expected a file, found nothing"),
        ("patient_id\teta\nP00\t1\n", "expected column 'risk', found patient_id, eta"),
        ("patient_id\trisk\nP00\tx\n", "column risk: expected a finite number in every row, found 'x' in line 2"),
        ("patient_id\trisk\nP00\t0,5\n", r"found '0,5' \(a decimal comma: write 0.5\) in line 2"),
        ("patient_id\trisk\nP00\t1\n", "true risk of 60 test patients, found none for 59: P01"),
    ],
)
def test_truth_that_does_not_fit(study, tmp_path, content, match):
    path = tmp_path / "truth.tsv"
    if content is not None:
        path.write_text(content)
    refused(study, tmp_path, error=InputError, match=match, config=CONFIG.model_copy(update={"truth": path}))


def test_a_choice_on_the_test_part_is_said_in_every_table_and_figure(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures.figures, "training", lambda _, *, title: drawn.append(title))
    survival = pictures.figures.survival
    monkeypatch.setattr(
        pictures.figures, "survival", lambda *a, title, **k: (drawn.append(title), survival(*a, title=title, **k))[1]
    )
    report.run(**write_study(tmp_path, chosen_on="test"), out=tmp_path / "report", config=CONFIG)
    labelled = ["tta [chosen on the test part]", "genes [chosen on the test part]"]
    assert drawn == labelled * 2
    for name in ("metrics", "pooled", "summary", "groups"):
        assert list(read(tmp_path / "report", name)["model"].unique()) == labelled
    (pair,) = read(tmp_path / "report", "comparisons").to_dict("records")
    assert [pair["model_a"], pair["model_b"]] == labelled
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "the epoch was chosen by the test patients themselves" in page
    assert (tmp_path / "report" / "survival_tta.png").is_file()


def test_an_honest_choice_has_no_label(study):
    assert "chosen" not in (study[1] / "index.html").read_text(encoding="utf-8")


def test_variants_of_the_first_model_stand_in_one_table(study):
    table = read(study[1], "ablations")
    summary, (pair,) = read(study[1], "summary"), read(study[1], "comparisons").to_dict("records")
    assert list(table["model"]) == ["tta", "genes"]
    assert list(table["changes"]) == ["", "anchors=False, modalities=a+b"]
    for column in ("c_mean", "c_std_folds", "c_pooled", "c_low", "c_high"):
        assert list(table[column]) == list(summary[column])
    assert np.isnan(table["c_difference"][0])
    assert table["c_difference"][1] == -pair["c_difference"]
    assert (table["difference_low"][1], table["difference_high"][1]) == (-pair["c_high"], -pair["c_low"])
    assert list(table["verdict"]) == ["", pair["verdict"]]
    assert table["p_corrected"][1] == pair["p_corrected"]
    page = (study[1] / "index.html").read_text(encoding="utf-8")
    assert "anchors=False, modalities=a+b" in page


def test_many_models_are_shown_beside_the_first_one(tmp_path):
    models = ("tta", "b", "c", "d", "e")
    report.run(**write_study(tmp_path, models=models), out=tmp_path / "report", config=CONFIG)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert len(read(tmp_path / "report", "comparisons")) == 10
    assert [page.count(f"tta − {other}</td>") for other in models[1:]] == [1, 1, 1, 1]  # noqa: RUF001
    assert "b − c" not in page  # noqa: RUF001
    assert "6 pairs without the first model are in comparisons.tsv" in page


@pytest.mark.parametrize("n_slides", [0, 2])
def test_slides_that_were_tiled_and_those_that_could_not_be_used(study, tmp_path, n_slides):
    """The sheet of overlays is written where slides were tiled, even if none could be used: the rule promises it."""
    given, _ = study
    rows = [(f"s{number}", 0.25, "sheet", 12.5, 900.0, 40, 7, 3, 2, 1, "gone.png") for number in range(n_slides)]
    quality = tmp_path / "b0001.quality.tsv"
    tables.write_table(quality, pd.DataFrame(rows, columns=list(tables.QUALITY)), columns=tables.QUALITY)
    attrition = tmp_path / "attrition.tsv"
    bad = [("slide", "x1", "P00", "cohort", "no <tissue>"), ("slide", "x2", "Q", "cohort", "patient left out: no RNA")]
    tables.write_table(attrition, pd.DataFrame(bad, columns=list(tables.ATTRITION)), columns=tables.ATTRITION)
    report.run(**given | {"attrition": attrition}, quality=[quality], out=tmp_path / "out", config=CONFIG)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "slides.png").is_file()
    read_page = Page()
    read_page.feed(page)
    assert len(set(read_page.ids)) == len(read_page.ids)
    assert read(tmp_path / "out", "bad_slides")["slide_id"].tolist() == ["x1"]
    assert "no &lt;tissue&gt;" in page
    assert len(read(tmp_path / "out", "slides")) == n_slides
    assert ("2 slides were tiled: 25 mm² of tissue, 80 tiles kept" in page) == (n_slides == 2)
    assert ("6 with too much ink" in page) == (n_slides == 2)
    assert ("4 out of focus" in page) == (n_slides == 2)


def test_calibration_and_hazards_stand_in_tables_and_on_the_page(study):
    _, out = study
    calibration, hazards = read(out, "calibration"), read(out, "hazards")
    whole = calibration[calibration["bin"] == 0]
    assert whole["model"].tolist() == hazards["model"].tolist() == ["tta", "genes"]
    assert whole["n"].tolist() == [PATIENTS, PATIENTS]
    assert calibration["bin"].tolist() == [0, 1, 2, 3, 4, 5] * 2
    wide = calibration[calibration["low"] < calibration["high"]]
    assert (wide["predicted"] > wide["low"]).all()
    page = (out / "index.html").read_text(encoding="utf-8")
    for row in hazards.to_dict("records"):
        assert f"<td>{row['chi2']:.2f}</td>" in page
    assert (out / "calibration_tta.png").is_file()
    assert read(out, "added_value").empty
    assert "the study names no clinical covariates (inputs.covariates)" in page


def test_clinical_covariates_are_held_against_the_risks(tmp_path):
    generator = np.random.default_rng(1)
    given = write_study(tmp_path, models=("tta", "clinical"))
    truth = pd.read_csv(tmp_path / "truth.tsv", sep="\t")
    rows = [
        *((name, "age", f"{60 + 10 * (risk + generator.normal(0, 0.2)):.0f}") for name, risk in truth.to_numpy()),
        *((name, "race", "abc"[number % 3]) for number, name in enumerate(truth["patient_id"])),
    ]
    table = pd.DataFrame(rows, columns=list(tables.COVARIATES))
    tables.write_table(given["covariates"], table, columns=tables.COVARIATES)
    report.run(**given, out=tmp_path / "out", config=CONFIG)
    added = read(tmp_path / "out", "added_value").set_index("covariate")
    assert list(added.index) == ["age", "race"]
    assert set(added["model"]) == {"tta"}  # the other one's risk is made of the covariates
    assert added.loc["age", "p_alone"] < 0.05
    assert added.loc["age", "c_covariate"] > 0.7
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert f"{added.loc['age', 'c_covariate']:.3f}" in page
    assert added.loc["age", "b_alone"] > 0
    assert f"<td>{added.loc['age', 'b_risk']:.2f}</td>" in page
    assert "training parts share patients" in " ".join(page.split())
    assert "not tested: 3 values that are neither numbers nor stages" in page
