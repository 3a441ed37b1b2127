"""The simulations of coverage in benchmarks/, of a few small cohorts: that they run, and print what can be coverage."""

import re
import sys
from collections.abc import Callable

import pytest

from benchmarks import interval_coverage, refit_coverage

Row = dict[str, str]
SMALL = ["--patients", "60", "--events", "0.6", "--folds", "3", "--cohorts", "5", "--samples", "20"]


@pytest.fixture
def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Callable[[], None], list[str]], list[list[Row]]]:
    """Tables that a script prints: rows, by the names of their columns."""
    monkeypatch.setattr(interval_coverage, "PAIRS", 10_000)

    def run(main: Callable[[], None], arguments: list[str]) -> list[list[Row]]:
        monkeypatch.setattr(sys, "argv", ["script", *arguments])
        main()
        tables = re.findall(r"(?:^\|.*\n)+", capsys.readouterr().out, flags=re.MULTILINE)
        return [_rows(table.splitlines()) for table in tables]

    return run


def _rows(lines: list[str]) -> list[Row]:
    names, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(names, row, strict=True)) for row in rows]


def percent(cell: str) -> list[float]:
    """Each percentage of a cell but what follows ±."""
    found = [float(one) for one in re.findall(r"(?<!± )\b(\d+\.\d)%", cell)]
    assert found, cell
    assert all(0 <= one <= 100 for one in found)
    return found


def test_intervals_of_a_given_risk_cover_the_true_c_or_miss_it_on_one_side(printed) -> None:
    (table,) = printed(interval_coverage.main, SMALL)
    assert len(table) == len(interval_coverage.EFFECTS)
    for row in table:
        assert row["undefined"] == "0"
        cells = [row[name] for name in ("covered", "all below", "all above")]
        assert sum(percent(cell)[0] for cell in cells) == pytest.approx(100, abs=0.2)


def test_intervals_of_a_fitted_risk_cover_more_where_they_are_wider(printed) -> None:
    measured, compared, tried = printed(refit_coverage.main, [*SMALL, "--covariates", "2"])
    assert len(measured) == len(compared) == len(tried) == len(refit_coverage.EFFECTS)
    for row, intervals in zip(measured, tried, strict=True):
        own = [percent(row[name])[0] for name in ("covers models", "covers procedure")]
        assert percent(row["fresh: covers models"])
        assert percent(intervals["percentile"]) == own
        assert all(wide >= one for wide, one in zip(percent(intervals["stretched"]), own, strict=True))
    for row in compared:
        alone = [percent(row[name])[0] for name in ("bootstrap", "t over folds, corrected")]
        assert percent(row["larger p"])[0] <= min(alone)
