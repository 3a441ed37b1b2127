"""Outcomes and risks of which little can be said, through the whole report: NaN with a reason, or one clear error."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from tests.stages.test_report import CONFIG, FOLDS, PATIENTS, read, write_study
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import artifacts, tables
from tta_pipeline.stages import report


def rewrite(given, *, change, folds=range(FOLDS)):
    """Change the predictions of these folds in place, and the outcomes of the cohort with them."""
    patients = tables.read_table(given["patients"], columns=tables.PATIENTS).set_index("patient_id")
    for path in given["evaluated"]:
        found = artifacts.read_predictions(path)
        if found.attributes["fold"] not in folds:
            continue
        values = {one.name: getattr(found, one.name) for one in fields(found)}
        new = values | change(found)
        artifacts.write_predictions(path, artifacts.Predictions(**new), options={}, inputs={})
        patients.loc[found.patient_id, "time_days"] = new["time_days"]
        patients.loc[found.patient_id, "event"] = new["event"]
    tables.write_table(given["patients"], patients.reset_index(), columns=tables.PATIENTS)


def reported(folder, **options):
    """Write a study, change it, report it: the folder of the report and the text of its page without pictures."""
    given = write_study(folder, models=("tta",))
    rewrite(given, **options)
    report.run(**given, out=folder / "out", config=CONFIG)
    return folder / "out", (folder / "out" / "index.html").read_text(encoding="utf-8")


def undefined_have_reasons(out):
    for name, value in (("metrics", "c_index"), ("scores", "value"), ("hazards", "p"), ("groups", "p")):
        table = read(out, name)
        undefined = table[table[value].isna()]
        assert (undefined["reason"] != "").all(), name


def test_a_fold_without_events(tmp_path):
    out, page = reported(tmp_path, change=lambda found: {"event": np.zeros_like(found.event)}, folds=[1])
    undefined_have_reasons(out)
    scores = read(out, "scores")
    assert scores.loc[scores["fold"] == 1, "value"].isna().all()
    assert np.isfinite(scores.loc[scores["fold"] != 1, "value"]).any()
    assert np.isfinite(read(out, "hazards")["p"]).all()
    assert "1 of 3 C-indices are undefined" in page


def test_all_censored(tmp_path):
    out, page = reported(tmp_path, change=lambda found: {"event": np.zeros_like(found.event)})
    undefined_have_reasons(out)
    summary = read(out, "summary").iloc[0]
    assert np.isnan([summary["c_mean"], summary["c_pooled"], summary["c_low"]]).all()
    assert summary["reason"] == "no comparable pairs in 3 test parts"
    assert read(out, "scores")["value"].isna().all()
    assert read(out, "hazards")["reason"].tolist() == [f"no events among {PATIENTS} patients"]
    assert read(out, "groups")["reason"].tolist() == [f"no events among {PATIENTS} patients"]
    assert (read(out, "calibration")["observed"].dropna() == 1).all()
    assert "3 of 3 C-indices are undefined" in page


def test_tied_times_everywhere(tmp_path):
    out, page = reported(tmp_path, change=lambda found: {"time_days": np.full_like(found.time_days, 400.0)})
    undefined_have_reasons(out)
    metrics = read(out, "metrics")
    assert np.isfinite(metrics["c_index"]).all()  # an event and a censored patient of one day are a pair
    scores = read(out, "scores")
    assert (
        scores["reason"].str.startswith("no events among 20 patients within the follow-up of the training part").all()
    )
    assert "one time" in read(out, "hazards")["reason"].iloc[0]
    assert "Survival by risk group" in page


def test_a_constant_risk(tmp_path):
    out, page = reported(tmp_path, change=lambda found: {"risk": np.full_like(found.risk, 0.5)})
    undefined_have_reasons(out)
    assert (read(out, "metrics")["c_index"] == 0.5).all()
    assert "constant within the strata" in read(out, "hazards")["reason"].iloc[0]
    assert "All test patients have the same risk in tta repeat 0 fold 0 seed 0" in page


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_risk_that_is_no_number_is_named_with_its_file(tmp_path, value):
    given = write_study(tmp_path, models=("tta",))
    rewrite(given, change=lambda found: {"risk": np.append(found.risk[1:], value)}, folds=[2])
    with pytest.raises(ArtifactError, match=r"r0_f2_s0\.h5: expected finite risk, .* Train and evaluate again"):
        report.run(**given, out=tmp_path / "out", config=CONFIG)
    assert not (tmp_path / "out").exists()


def test_an_exchanged_risk_that_is_no_number_is_named_with_its_file_and_modality(tmp_path):
    given = write_study(tmp_path, models=("tta",))

    def change(found):
        risks = found.exchanged["genomics"].copy()
        risks[1, 4], risks[2, 5] = np.nan, np.inf
        return {"exchanged": {"genomics": risks}}

    rewrite(given, change=change, folds=[2])
    wanted = (
        r"tta/r0_f2_s0\.h5: expected finite risks with the genomics of another patient, .* 2 of 20 .*Evaluate again"
    )
    with pytest.raises(ArtifactError, match=wanted):
        report.run(**given, out=tmp_path / "out", config=CONFIG)


def test_horizons_beyond_everything_that_is_known(tmp_path):
    late = {"horizons_days": np.array([365.0, 1e5]), "curve_days": np.array([365.0, 1e5])}

    def change(found):
        survival = np.column_stack([found.survival[:, 0], np.full(len(found.risk), np.nan)]).astype(np.float32)
        return late | {"survival": survival, "curves": survival}

    out, page = reported(tmp_path, change=change)
    undefined_have_reasons(out)
    scores = read(out, "scores")
    beyond = scores[scores["at_days"] == 1e5]
    assert beyond["value"].isna().all()
    assert beyond["reason"].str.startswith("horizon outside the follow-up of the test part").all()
    calibration = read(out, "calibration")
    assert calibration.loc[calibration["at_days"] == 1e5, "reason"].tolist() == [
        f"no prediction so late for any of {PATIENTS} patients"
    ]
    assert "no prediction so late" in page


def test_survival_outside_of_0_to_1_is_named_with_its_file(tmp_path):
    given = write_study(tmp_path, models=("tta",))
    rewrite(given, change=lambda found: {"survival": found.survival + 1}, folds=[1])
    with pytest.raises(ArtifactError, match=r"r0_f1_s0\.h5: expected predicted survival in \[0, 1\], .* for 20 of 20"):
        report.run(**given, out=tmp_path / "out", config=CONFIG)


def test_models_on_other_folds_are_not_compared(tmp_path):
    given = write_study(tmp_path)
    given["evaluated"] = [path for path in given["evaluated"] if "genes" not in str(path) or "_f0_" not in path.name]
    report.run(**given, out=tmp_path / "out", config=CONFIG)
    (pair,) = read(tmp_path / "out", "comparisons").to_dict("records")
    assert (pair["verdict"], pair["reason"]) == ("not compared", "not tested on the same patients and folds")
    assert pd.isna([pair["c_difference"], pair["p_corrected"]]).all()
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "1 of 3 test parts have no results in genes (repeat 0 fold 0)" in page
    assert "tta and genes are not compared" in page
    assert read(tmp_path / "out", "summary")["n_parts"].tolist() == [3, 2]


def test_a_study_without_horizons_has_every_file_that_the_workflow_expects(tmp_path):
    none = {"survival": np.empty((PATIENTS // FOLDS, 0), dtype=np.float32), "horizons_days": np.empty(0)}
    out, page = reported(tmp_path, change=lambda found: none)
    undefined_have_reasons(out)
    assert (out / "calibration_tta.png").is_file()
    assert read(out, "calibration").empty
    assert "predicted and observed survival" in page


def test_models_of_two_modalities_that_were_not_checked_are_named(tmp_path):
    """tta: no draws at all; genes: none in one fold; alone: of one modality."""
    given = write_study(tmp_path, models=("tta", "genes", "alone"))

    def change(found):
        none = {"genomics": np.empty((0, len(found.risk)))}
        name, fold = found.attributes["name"], found.attributes["fold"]
        return {"exchanged": {"tta": none, "genes": none if fold == 0 else found.exchanged}.get(name, {})}

    rewrite(given, change=change)
    report.run(**given, out=tmp_path / "out", config=CONFIG)
    said = read(tmp_path / "out", "warnings")["warning"]
    (unchecked,) = said[said.str.contains("not checked")]
    assert unchecked.startswith("tta: not checked whether both modalities are used. Set evaluate.exchanges")
    assert said.str.startswith("genes: the check of its modalities is over 2 of 3 test parts").any()
    assert read(tmp_path / "out", "modalities")["model"].tolist() == ["genes"]


def test_unknown_sites_are_not_reported_as_sites_that_are_not_shared(tmp_path):
    given = write_study(tmp_path, models=("tta",))
    patients = tables.read_table(given["patients"], columns=tables.PATIENTS)
    tables.write_table(given["patients"], patients.assign(site=""), columns=tables.PATIENTS)
    report.run(**given, out=tmp_path / "out", config=CONFIG)
    assert read(tmp_path / "out", "events")["n_unknown_sites"].tolist() == [56] * FOLDS
    said = read(tmp_path / "out", "warnings")["warning"]
    assert said.str.startswith("The site of 56 of 56 training and test patients is not known").any()
    assert "<td>0</td><td>at least 0</td>" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"horizons_days": np.array([730.0])},
            r"genes/r0_f0_s0\.h5: expected evaluate\.horizons_days to be 365, as for .*tta/r0_f0_s0\.h5, found 730\. ",
        ),
        (
            {"horizons_days": np.empty(0), "survival": np.empty((PATIENTS // FOLDS, 0), dtype=np.float32)},
            r"expected evaluate\.horizons_days to be 365, .* found none\. .*--forcerun evaluate",
        ),
        (
            {"exchanged": {"genomics": np.zeros((2, PATIENTS // FOLDS))}},
            r"genes/r0_f0_s0\.h5: expected evaluate\.exchanges to be 3, as for .*tta/r0_f0_s0\.h5, found 2\. ",
        ),
    ],
)
def test_models_that_were_evaluated_with_other_options_are_one_error(tmp_path, change, match):
    given = write_study(tmp_path)
    rewrite(given, change=lambda found: change if found.attributes["name"] == "genes" else {})
    with pytest.raises(InputError, match=match):
        report.run(**given, out=tmp_path / "out", config=CONFIG)
    assert not (tmp_path / "out").exists()


def test_folds_of_one_model_with_other_numbers_of_exchanges_are_an_error(tmp_path):
    given = write_study(tmp_path, models=("tta",))
    rewrite(given, change=lambda found: {"exchanged": {"genomics": found.exchanged["genomics"][:2]}}, folds=[1])
    with pytest.raises(InputError, match=r"r0_f1_s0\.h5: expected evaluate\.exchanges to be 3"):
        report.run(**given, out=tmp_path / "out", config=CONFIG)
