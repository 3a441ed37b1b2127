"""The cohort stage: everyone is in or out with a reason, whatever the order of the files."""

import json
import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_pipeline import cli
from tta_pipeline.config import BadSlides, Cohort, Inputs
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import tables
from tta_pipeline.io.cohort import slide_type
from tta_pipeline.stages import cohort

# p1: two slides; p2: no RNA; p3: no slide; p4: no outcome; p5: not in the clinical table; p6: time 0; p7: one slide.
SLIDES = [("s5", "p5"), ("s1b", "p1"), ("s2", "p2"), ("s4", "p4"), ("s6", "p6"), ("s7", "p7"), ("s1a", "p1")]
CLINICAL = {"p7": "30,0", "p6": "0,1", "p4": "NA,", "p3": "3,1", "p2": "2,", "p1": "10,1", "elsewhere": "-4,x"}
RNA = ["p3", "p7", "p1", "p4", "p5", "p6"]
REASONS = {
    "p2": "no RNA; no outcome: indicator missing",
    "p3": "no slide",
    "p4": "no outcome: time and indicator missing",
    "p5": "no outcome: not in the clinical table",
    "p6": "zero time",
}


class Study:
    """Input files in a folder, and what the stage makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slides = SLIDES
        self.rna = RNA
        self.column = "path"
        self.absent: set[str] = set()

    def features(self, **bags: np.ndarray) -> "Study":
        """Bring ready-made features; those not given are finite and three wide."""
        self.column = "features"
        for slide_id, _ in self.slides:
            with h5py.File(self.folder / f"{slide_id}.svs", "w") as file:
                file["features"] = bags.get(slide_id, np.ones((2, 3), np.float32))
        return self

    def run(
        self, *, bad_slides: dict[str, Any] | None = None, slide_types: list[str] | None = None, **config: Any
    ) -> dict[str, pd.DataFrame]:
        rows = [f"{slide_id}\t{patient}\t{slide_id}.svs" for slide_id, patient in self.slides]
        self._write("slides.tsv", [f"slide_id\tpatient_id\t{self.column}", *rows])
        self._write("clinical.csv", ["patient_id,time_days,event", *(f"{k},{v}" for k, v in CLINICAL.items())])
        self._write("rna.csv", ["id,A", *(f"{patient},1" for patient in self.rna)])
        self._write("sets.gmt", ["SET\t\tA"])
        for slide_id in {name for name, _ in self.slides} - self.absent:
            (self.folder / f"{slide_id}.svs").touch()
        names = {"slides": "slides.tsv", "clinical": "clinical.csv", "expression": "rna.csv", "gene_sets": "sets.gmt"}
        paths = {key: self.folder / name for key, name in names.items()}
        inputs = Inputs.model_validate(paths | {"slide_types": slide_types})
        out = self.folder / "out"
        cohort.run(out=out, inputs=inputs, config=Cohort(**config), bad_slides=BadSlides(**(bad_slides or {})))
        columns = {name: getattr(tables, name.upper()) for name in ("patients", "slides", "attrition", "batches")}
        return {name: tables.read_table(out / f"{name}.tsv", columns=each) for name, each in columns.items()}

    def _write(self, name: str, lines: list[str]) -> None:
        (self.folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_who_is_in(study: Study) -> None:
    found = study.run()
    assert found["patients"].to_dict("list") == {
        "patient_id": ["p1", "p7"],
        "site": ["", ""],
        "time_days": [10.0, 30.0],
        "event": [True, False],
        "n_slides": [2, 1],
    }
    assert found["slides"]["slide_id"].tolist() == ["s1b", "s7", "s1a"]
    assert found["slides"]["path"].tolist() == [str(study.folder / f"{name}.svs") for name in ("s1b", "s7", "s1a")]
    assert found["batches"]["batch"].unique().tolist() == ["b0001"]


def test_who_is_out_and_why(study: Study) -> None:
    out = study.run()["attrition"].set_index(["kind", "id"])
    assert out.loc["patient", "reason"].to_dict() == REASONS
    assert out.loc["slide", "patient_id"].to_dict() == {"s5": "p5", "s2": "p2", "s4": "p4", "s6": "p6"}
    assert out.loc[("slide", "s6"), "reason"] == "patient left out: zero time"
    assert set(out["stage"]) == {"cohort"}


@pytest.mark.parametrize(
    ("slide_id", "kind"),
    [
        ("TCGA-BR-8077-01Z-00-DX1", "DX"),
        ("TCGA-BR-8077-01Z-00-DX1.b1ffa4e1-39b0-4d4b-8ef5-e0dc0f9b1d5a", "DX"),
        ("TCGA-CR-7395-01A-01-TS1", "TS"),
        ("TCGA-CR-7395-01A-02-BSB", "BS"),
        ("TCGA-CR-7395-01A-01-MS1", "MS"),
        ("TCGA-CR-7395", ""),
        ("slide-DX1", ""),
    ],
)
def test_the_type_of_a_slide_is_in_its_barcode(slide_id: str, kind: str) -> None:
    assert slide_type(slide_id) == kind


def test_slides_of_other_types_are_left_out_and_named(study: Study) -> None:
    diagnostic, frozen = "TCGA-AA-0001-01Z-00-DX1", "TCGA-AA-0001-01A-01-TS1"
    study.slides = [(diagnostic, "p1"), (frozen, "p1"), ("s7", "p7")]
    found = study.run(slide_types=["DX"])
    out = found["attrition"].set_index("id")["reason"]
    assert found["patients"]["patient_id"].tolist() == ["p1"]
    assert found["slides"]["slide_id"].tolist() == found["batches"]["slide_id"].tolist() == [diagnostic]
    assert (out[frozen], out["s7"]) == ("slide type TS", "slide type not told by its slide_id")
    assert out["p7"] == "no slide"
    with pytest.raises(InputError, match=r"expected slides of type BS \(inputs.slide_types\), found none .* as TCGA"):
        study.run(slide_types=["BS"])


@pytest.mark.parametrize("seed", range(3))
def test_everyone_is_in_or_out_and_the_order_does_not_matter(study: Study, seed: int) -> None:
    expected = study.run()
    rng = np.random.default_rng(seed)
    study.slides = [SLIDES[index] for index in rng.permutation(len(SLIDES))]
    study.rna = list(rng.permutation(RNA))
    found = study.run()
    assert found["patients"].equals(expected["patients"])
    out = found["attrition"]
    patients, slides = (out.loc[out["kind"] == kind, "id"] for kind in ("patient", "slide"))
    assert sorted([*found["patients"]["patient_id"], *patients]) == ["p1", "p2", "p3", "p4", "p5", "p6", "p7"]
    assert sorted([*found["slides"]["slide_id"], *slides]) == sorted(slide for slide, _ in SLIDES)


def test_the_count_is_logged(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        study.run()
    assert "6 of 7 rows belong to the study" in caplog.text
    assert "2 patients with 1 events, 3 slides; left out: 5 patients, 4 slides" in caplog.text


def test_zero_time_may_stop_the_study(study: Study) -> None:
    with pytest.raises(InputError, match="expected times above 0, found 0 for 1 patients: p6"):
        study.run(zero_time="fail")


def test_identifiers_that_do_not_meet_are_shown(study: Study) -> None:
    study.rna = ["p1-01A", "p7-01A"]
    message = (
        r"found none among 8 \(.*x no slide.*must be equal.*slides\.tsv has s?p5, p1, p2.*rna\.csv has p1-01A, p7-01A"
    )
    with pytest.raises(InputError, match=message):
        study.run()


def test_ready_made_features_have_no_batch(study: Study) -> None:
    found = study.features().run()
    assert found["slides"]["features"].tolist() == [str(study.folder / f"{name}.svs") for name in ("s1b", "s7", "s1a")]
    assert found["batches"].empty


NAN = np.array([[1, np.nan, 1]], np.float32)


def test_unusable_features_stop_the_study_and_are_all_named(study: Study) -> None:
    with pytest.raises(
        InputError, match=r"expected none .* unusable, found 2:\n  s7: .* NaN.*\n  s1a: expected finite"
    ):
        study.features(s1a=NAN, s7=NAN).run()


def test_unusable_features_are_left_out_up_to_the_limit(study: Study) -> None:
    study.features(s1a=NAN, s7=NAN, s2=NAN)
    found = study.run(bad_slides={"policy": "exclude", "limit": 2})
    assert found["patients"][["patient_id", "n_slides"]].to_numpy().tolist() == [["p1", 1]]
    out = found["attrition"].set_index("id")["reason"]
    assert out["s7"] == "expected finite features, found NaN or infinity in 1 of 1 rows"
    assert out["p7"] == "no usable slide"
    with pytest.raises(
        InputError, match=r"at most bad_slides\.limit = 1 .*found 2:\n  s7: [^\n]*\n  s1a: [^\n]*\n.*limit: 2"
    ):
        study.run(bad_slides={"policy": "exclude", "limit": 1})


def test_files_that_hold_no_features_are_unusable(study: Study) -> None:
    study.features(s7=np.ones(3, np.float32))
    with pytest.raises(InputError, match="s7: expected floating-point features of shape"):
        study.run()


def test_no_usable_slide_at_all(study: Study) -> None:
    study.features(s1a=NAN, s1b=NAN, s7=NAN)
    with pytest.raises(InputError, match="at least one patient with a usable slide, found none"):
        study.run(bad_slides={"policy": "exclude", "limit": 9})


def test_feature_widths_must_agree(study: Study) -> None:
    with pytest.raises(InputError, match=r"one width in all files, found 3 in .*s1b\.svs, 5 in .*s7\.svs"):
        study.features(s7=np.ones((4, 5), np.float16)).run()


def test_a_new_slide_disturbs_no_old_batch(study: Study) -> None:
    before = study.run(slides_per_job=2)["batches"].set_index("slide_id")["batch"]
    assert before.to_dict() | {"s1b": "b0001", "s7": "b0003", "s1a": "b0004"} == before.to_dict()
    study.slides = [("s7b", "p7"), *SLIDES[2:], ("s7c", "p7")]
    after = study.run(slides_per_job=2)["batches"].set_index("slide_id")["batch"]
    assert after.to_dict() == before.to_dict() | {"s7b": "b0005", "s7c": "b0005"}


def test_batches_are_remembered_also_where_the_stage_fails(study: Study) -> None:
    study.rna = ["nobody"]
    with pytest.raises(InputError, match="expected patients with a slide, RNA and a known outcome, found none"):
        study.run(slides_per_job=2)
    memory = tables.read_table(study.folder / "out" / "batches.tsv", columns=tables.BATCHES)
    assert list(memory["slide_id"]) == [slide_id for slide_id, _ in SLIDES]


def test_slides_may_have_gone_to_an_archive(study: Study) -> None:
    study.absent = {slide_id for slide_id, _ in SLIDES}
    assert len(study.run()["slides"]) > 0


@pytest.mark.parametrize("row", ["s1\tb0001\ns1\tb0002", "s1\tfirst", "s1\t"])
def test_a_broken_memory_of_batches_is_said(study: Study, row: str) -> None:
    (study.folder / "out").mkdir()
    (study.folder / "out" / "batches.tsv").write_text(f"slide_id\tbatch\n{row}\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"batches\.tsv: expected each slide once .*Delete the file"):
        study.run()


@given(
    rounds=st.lists(st.lists(st.integers(0, 40).map(str), max_size=30), min_size=1, max_size=4),
    per_job=st.integers(1, 5),
)
def test_batches_only_grow_by_whole_new_ones(rounds: list[list[str]], per_job: int) -> None:
    known: dict[str, str] = {}
    for slides in rounds:
        after = cohort.assign_batches(slides, known=known, per_job=per_job)
        assert set(after) == {*known, *slides}
        assert all(after[slide] == batch for slide, batch in known.items())
        assert not {after[slide] for slide in slides if slide not in known} & set(known.values())
        assert max(pd.Series(after, dtype=object).value_counts(), default=0) <= per_job
        known = after


@pytest.mark.real
@pytest.mark.parametrize(("endpoint", "patients", "events"), [("DSS", 318, 84), ("OS", 318, 119)])
def test_stomach_cohort_from_the_command_line(
    tmp_path: Path, real_data: Path, endpoint: str, patients: int, events: int
) -> None:
    inputs = {
        "slides": "stad/slides.tsv",
        "clinical": "clinical/tcga_cdr.csv",
        "expression": "expression/xena_stad.csv",
        "gene_sets": "pathways/xena_signatures.csv",
    }
    section: dict[str, str] = {key: str(real_data / name) for key, name in inputs.items()}
    section |= {"patient_column": "bcr_patient_barcode", "time_column": f"{endpoint}.time", "event_column": endpoint}
    arguments = ["cohort", "--out", str(tmp_path), "--inputs", json.dumps(section), "--config", "{}"]
    assert cli.run([*arguments, "--bad-slides", '{"policy": "exclude", "limit": 3}']) == 0
    kept = tables.read_table(tmp_path / "patients.tsv", columns=tables.PATIENTS)
    assert (len(kept), int(kept["event"].sum())) == (patients, events)
    assert (kept["site"].str.len() == 2).all()
    source = pd.read_csv(section["clinical"], low_memory=False).set_index("bcr_patient_barcode").loc[kept["patient_id"]]
    assert (source[f"{endpoint}.time"].to_numpy() == kept["time_days"]).all()
    assert (source[endpoint].to_numpy() == kept["event"]).all()
    out = tables.read_table(tmp_path / "attrition.tsv", columns=tables.ATTRITION)
    nan = out[out["reason"].str.contains("NaN")]
    assert set(nan["id"]) == {"TCGA-D7-A6EX-84853", "TCGA-RD-A8N5-87979", "TCGA-D7-A748-91815"}
    slides = tables.read_table(tmp_path / "slides.tsv", columns=tables.SLIDES)
    assert len(slides) + (out["kind"] == "slide").sum() == 407


def test_every_slide_of_the_sheet_has_a_batch_whoever_its_patient_is(study: Study) -> None:
    table = study.run(slides_per_job=2)["batches"]
    assert table["slide_id"].tolist() == [slide_id for slide_id, _ in SLIDES]
    assert table["batch"].tolist() == ["b0001", "b0001", "b0002", "b0002", "b0003", "b0003", "b0004"]
