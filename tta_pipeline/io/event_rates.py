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
# In standard deviations. A study may take a project's gravest or mildest patients: of 2,442 such subsets of TCGA-CDR
# (by stage, grade, site, age, year, ...) six are stopped; of 122 whole projects read the wrong way round 95 are. Those
# that pass have about as many events as censored patients.
_FAR, _NEAR = 7.0, 2.5


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
    taken to be exchanged where the e events found lie more than seven standard deviations sqrt(sum p_i (1 - p_i)) from
    E, and the n - e others within two and a half. Where no endpoint is named, e must be far for all four, and the
    others near for one.

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
    What was found for the endpoint, or for the first of the four; None: nothing, or fewer than 30 patients compared.

    References
    ----------
    Liu et al., Cell 173 (2018) 400, table S1.
    """
    found = [_compare(sites, event=event, endpoint=each) for each in ((endpoint,) if endpoint else ENDPOINTS)]
    if not all(far for far, _ in found):
        return None
    return next((exchanged for _, exchanged in found if exchanged is not None), None)


def _compare(sites: Sequence[str], *, event: NDArray[np.bool_], endpoint: str) -> tuple[bool, Exchanged | None]:
    """Whether the events are far from those expected, and what was found where the others are near."""
    rates, projects = _published(endpoint)
    known = np.array([site in rates for site in sites], dtype=bool)
    n, events = int(known.sum()), int(event[known].sum())
    if n < _FEWEST_PATIENTS:
        return False, None
    rate = np.array([rates[site] for site in sites if site in rates])
    expected, deviation = float(rate.sum()), math.sqrt(float((rate * (1 - rate)).sum()))
    far = abs(events - expected) > _FAR * deviation
    if not far or abs(n - events - expected) > _NEAR * deviation:
        return far, None
    project = Counter(projects[site] for site in sites if site in rates).most_common(1)[0][0]
    return True, Exchanged(endpoint=endpoint, project=project, patients=n, events=events, expected=expected)


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
