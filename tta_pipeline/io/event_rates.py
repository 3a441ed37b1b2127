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
_LEAST_PART = 0.4  # of the patients that the compared projects have: fewer may be a choice of grave or mild cases


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
    What was found for the endpoint, or for the first of the four; None: nothing, or fewer than 30 patients
    compared, or than two fifths of their projects.

    References
    ----------
    Liu et al., Cell 173 (2018) 400, table S1.
    """
    compared = [_compare(sites, event=event, endpoint=each) for each in ((endpoint,) if endpoint else ENDPOINTS)]
    found = [each for each in compared if each is not None]
    if not all(far for far, _ in found):
        return None
    return next((exchanged for _, exchanged in found if exchanged is not None), None)


def _compare(sites: Sequence[str], *, event: NDArray[np.bool_], endpoint: str) -> tuple[bool, Exchanged | None] | None:
    """Whether the events are far from those expected, and what was found where the others are near; None: too few."""
    rates, projects, sizes = _published(endpoint)
    known = np.array([site in rates for site in sites], dtype=bool)
    n, events = int(known.sum()), int(event[known].sum())
    named = Counter(projects[site] for site in sites if site in rates)
    if n < max(_FEWEST_PATIENTS, _LEAST_PART * sum(sizes[project] for project in named)):
        return None
    rate = np.array([rates[site] for site in sites if site in rates])
    expected, deviation = float(rate.sum()), math.sqrt(float((rate * (1 - rate)).sum()))
    far = abs(events - expected) > _FAR * deviation
    if not far or abs(n - events - expected) > _NEAR * deviation:
        return far, None
    return True, Exchanged(
        endpoint=endpoint, project=" and ".join(sorted(named)), patients=n, events=events, expected=expected
    )


@cache
def _published(endpoint: str) -> tuple[dict[str, float], dict[str, str], dict[str, int]]:
    """Rate of events and project of each site whose project has such patients; number of patients of each project."""
    with resources.as_file(resources.files("tta_pipeline.io") / "data" / "tcga_event_rates.tsv") as path:
        table = sheets.read_sheet(path)
    rates, projects, sizes = {}, {}, {}
    for row in table.to_dict("records"):
        patients, events = int(row[f"{endpoint}_patients"]), int(row[f"{endpoint}_events"])
        sizes[row["project"]] = patients
        for site in row["sites"].split() if patients >= _FEWEST_PATIENTS else ():
            rates[site], projects[site] = events / patients, row["project"]
    return rates, projects, sizes
