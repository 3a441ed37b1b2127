"""Indicators that are read the wrong way round show beside published cohorts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tta_pipeline.config import Inputs
from tta_pipeline.errors import InputError
from tta_pipeline.io.clinical import read_clinical
from tta_pipeline.io.event_rates import ENDPOINTS, find_exchanged

# Sites of TCGA-STAD (DSS: 103 events of 416), TCGA-GBM (OS: 491 of 596) and TCGA-MESO.
STAD, GBM, MESO = "BR", "06", "3H"


def outcomes(*, patients: int, events: int) -> np.ndarray:
    return np.arange(patients) < events


def test_the_published_number_of_events_is_believed_and_its_complement_is_not() -> None:
    right, wrong = outcomes(patients=416, events=103), outcomes(patients=416, events=313)
    assert find_exchanged([STAD] * 416, event=right, endpoint="DSS") is None
    found = find_exchanged([STAD] * 416, event=wrong, endpoint="DSS")
    assert found is not None
    assert (found.project, found.patients, found.events) == ("STAD", 416, 313)
    assert found.expected == pytest.approx(103)


def test_a_deadly_disease_may_have_more_events_than_censored_patients() -> None:
    assert find_exchanged([GBM] * 500, event=outcomes(patients=500, events=412), endpoint="OS") is None
    for endpoint in ("OS", None):  # of DFI the project has three patients
        assert find_exchanged([GBM] * 500, event=outcomes(patients=500, events=88), endpoint=endpoint) is not None


def test_a_small_part_of_a_project_may_be_a_choice() -> None:
    assert find_exchanged([STAD] * 150, event=outcomes(patients=150, events=113), endpoint="DSS") is None
    assert find_exchanged([STAD] * 170, event=outcomes(patients=170, events=128), endpoint="DSS") is not None


def test_a_subgroup_without_events_is_no_exchange() -> None:
    assert find_exchanged([STAD] * 200, event=outcomes(patients=200, events=2), endpoint="OS") is None


@pytest.mark.parametrize("sites", [["site"] * 100, [""] * 100, [STAD] * 29])
def test_other_patients_and_few_are_not_compared(sites: list[str]) -> None:
    assert find_exchanged(sites, event=np.ones(len(sites), dtype=bool), endpoint="OS") is None


def test_without_a_named_endpoint_every_one_must_look_exchanged() -> None:
    """PRAD: 10 deaths and 93 progressions of 500. What looks exchanged as survival may be right as progression."""
    prad = ["EJ"] * 500
    assert find_exchanged(prad, event=outcomes(patients=500, events=100), endpoint="OS") is None
    assert find_exchanged(prad, event=outcomes(patients=500, events=93), endpoint=None) is None
    assert find_exchanged(prad, event=outcomes(patients=500, events=490), endpoint=None) is not None


@pytest.mark.real
def test_grave_subgroups_are_believed(real_data: Path) -> None:
    table = pd.read_csv(real_data / "clinical" / "tcga_cdr.csv", dtype=str, keep_default_na=False)
    for project, stage in (("KIRC", "Stage IV"), ("STAD", "Stage IV"), ("BLCA", "Stage IV"), ("COAD", "Stage IV")):
        known = table[(table["type"] == project) & table["OS"].isin(["0", "1"])]
        own = known[known["ajcc_pathologic_tumor_stage"] == stage]
        sites = own["bcr_patient_barcode"].str[5:7].tolist()
        assert find_exchanged(sites, event=(own["OS"] == "1").to_numpy(), endpoint="OS") is None


@pytest.mark.real
@pytest.mark.parametrize("endpoint", [*ENDPOINTS, None])
def test_every_project_of_tcga_cdr_is_believed(real_data: Path, endpoint: str | None) -> None:
    table = pd.read_csv(real_data / "clinical" / "tcga_cdr.csv", dtype=str, keep_default_na=False)
    for each in (endpoint,) if endpoint else ENDPOINTS:
        known = table[table[each].isin(["0", "1"])]
        for _, own in known.groupby("type"):
            sites = own["bcr_patient_barcode"].str[5:7].tolist()
            assert find_exchanged(sites, event=(own[each] == "1").to_numpy(), endpoint=endpoint) is None


@pytest.mark.real
@pytest.mark.parametrize("cohort", ["stad", "blca", "coadread"])
def test_censorship_declared_as_event_is_an_error(real_data: Path, cohort: str) -> None:
    inputs = Inputs(
        **dict.fromkeys(("slides", "expression", "gene_sets"), real_data / "none"),
        clinical=real_data / "clinical" / f"tcga_{cohort}.csv",
        patient_column="case_id",
        time_column="survival_months_dss",
        time_unit="months",
        event_column="censorship_dss",
    )
    patients = set(pd.read_csv(inputs.clinical, dtype=str)["case_id"])
    with pytest.raises(InputError, match=r"column censorship_dss: expected about \d+ events .* Correct event_means"):
        read_clinical(inputs, patients=patients)
    right = read_clinical(inputs.model_copy(update={"event_means": "censorship"}), patients=patients)
    wrong = read_clinical(inputs.model_copy(update={"check_event_rate": False}), patients=patients)
    assert (right["event"] != wrong["event"])[right["event"].notna()].all()
