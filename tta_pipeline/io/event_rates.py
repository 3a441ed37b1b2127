"""How many events published cohorts have: an indicator that is read the wrong way round shows beside them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.io import sheets

ENDPOINTS = ("OS", "DSS", "PFI", "DFI")
_FEWEST_PATIENTS = 30
_MOST_DEVIATIONS = 5.0  # a study may take some of a project's patients; chance alone stays far below


@dataclass(frozen=True)
class Exchanged:
    """An indicator that fits its cohort better the other way round.

    endpoint, project: of the published cohort it was compared with. patients: those compared. events: found among them.
    expected: events that as many patients of these projects have.
    """

    endpoint: str
    project: str
    patients: int
    events: int
    expected: float


def find_exchanged(sites: Sequence[str], *, event: NDArray[np.bool_], endpoint: str | None) -> Exchanged | None:
    """Compare the events of TCGA patients with those that the TCGA Clinical Data Resource counts in their projects.

    With p_i the rate of events in the project of patient i, E = sum p_i are expected of n patients. The indicator is
    taken to be exchanged where the e events found lie more than five standard deviations sqrt(sum p_i (1 - p_i)) from
    E, and n - e lies nearer, for the endpoint, or for all four where none is named.

    Parameters
    ----------
    sites
        (patients,) tissue source sites, as in TCGA-<site>-...; others are not compared.
    event
        (patients,) True where the event was observed.
    endpoint
        One of `ENDPOINTS`, or None where the columns' endpoint is not known.

    Returns
    -------
    What was found for the endpoint, the first of four, or None: nothing wrong, or fewer than 30 patients compared.

    References
    ----------
    Liu et al., Cell 173 (2018) 400, table S1.
    """
    found = [_compare(sites, event=event, endpoint=each) for each in ((endpoint,) if endpoint else ENDPOINTS)]
    suspicious = [each for each in found if each is not None]
    return suspicious[0] if len(suspicious) == len(found) else None


def _compare(sites: Sequence[str], *, event: NDArray[np.bool_], endpoint: str) -> Exchanged | None:
    rates, projects = _published(endpoint)
    known = np.array([site in rates for site in sites], dtype=bool)
    n, events = int(known.sum()), int(event[known].sum())
    if n < _FEWEST_PATIENTS:
        return None
    rate = np.array([rates[site] for site in sites if site in rates])
    expected, deviation = float(rate.sum()), math.sqrt(float((rate * (1 - rate)).sum()))
    far = abs(events - expected) > _MOST_DEVIATIONS * deviation
    if not far or abs(n - events - expected) >= abs(events - expected):
        return None
    project = Counter(projects[site] for site in sites if site in rates).most_common(1)[0][0]
    return Exchanged(endpoint=endpoint, project=project, patients=n, events=events, expected=expected)


@cache
def _published(endpoint: str) -> tuple[dict[str, float], dict[str, str]]:
    """Rate of events, and project, of each site whose project has patients with this endpoint."""
    with resources.as_file(resources.files("tta_pipeline.io") / "data" / "tcga_event_rates.tsv") as path:
        table = sheets.read_sheet(path)
    rates, projects = {}, {}
    for row in table.to_dict("records"):
        patients, events = int(row[f"{endpoint}_patients"]), int(row[f"{endpoint}_events"])
        for site in row["sites"].split() if patients >= _FEWEST_PATIENTS else ():
            rates[site], projects[site] = events / patients, row["project"]
    return rates, projects
