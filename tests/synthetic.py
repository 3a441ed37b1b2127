"""A simulated cohort with a known truth: slides, RNA, gene sets, clinical table, and each patient's true risk.

    python -m tests.synthetic --out demo/input

Three independent hidden factors of mean 0 and variance 1 raise the hazard: one that both modalities see, one that
only the slides show, one that only the RNA shows. Survival times are Weibull with proportional hazards,
S(t | eta) = exp(-(t / scale)^shape exp(eta)), eta = the true risk.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.synthetic_genes import gene_sets, make_expression, write_gmt
from tests.synthetic_slides import Stain, enlarge, make_blank, make_slide, write_svs
from tests.synthetic_textures import make_textures

COEFFICIENTS = {"shared": 1.1, "histology": 1.3, "genomics": 1.1}
WEIBULL_SHAPE, WEIBULL_SCALE_DAYS = 1.2, 1100.0
CENSORED = 0.4
SITES = ("Y1", "Y2", "Y3", "Y4", "Y5", "Y6", "Y7", "Y8")
MPP = 0.5


def write_cohort(folder: Path, *, patients: int = 96, seed: int = 0, edge_px: int = 1280) -> None:
    """Write slides.tsv, clinical.tsv, expression.tsv, gene_sets.gmt, truth.tsv and slides/*.svs.

    The last patient has no RNA and the last but one no outcome; the last slide of the first patient holds no
    tissue, and one slide's header lacks its resolution, which then stands in the sheet.

    Parameters
    ----------
    patients
        At least 8, so that every wrinkle has its own patient.
    edge_px
        Mean edge of a slide at 0.5 µm per pixel; the edges vary by 10 % around it.
    """
    if patients < 8:
        raise ValueError(f"expected at least 8 patients, found {patients}")
    folder.mkdir(parents=True, exist_ok=True)
    truth = make_truth(np.random.default_rng([seed, 0]), patients=patients)
    sites = np.random.default_rng([seed, 1]).permutation(np.arange(patients) % len(SITES))
    names = [f"TCGA-{SITES[site]}-{number + 1:04d}" for number, site in enumerate(sites)]
    truth.insert(0, "patient_id", names)
    _write(folder / "truth.tsv", truth.round(6))

    outcome = make_outcome(np.random.default_rng([seed, 2]), risk=truth["risk"].to_numpy())
    outcome.loc[patients - 2, ["time_days", "event"]] = pd.NA
    clinical = pd.DataFrame({"patient_id": names, "site": [SITES[site] for site in sites]}).join(outcome)
    _write(folder / "clinical.tsv", clinical)

    expression = make_expression(
        np.random.default_rng([seed, 3]),
        shared=truth["shared"].to_numpy(),
        genomics=truth["genomics"].to_numpy(),
        site=sites.tolist(),
    )
    expression.insert(0, "patient_id", names)
    _write(folder / "expression.tsv", expression.iloc[: patients - 1])
    (folder / "gene_sets.gmt").write_text(write_gmt(gene_sets()), encoding="utf-8")

    sheet = make_sheet(names)
    _write(folder / "slides.tsv", sheet[["slide_id", "patient_id", "path", "mpp"]])
    _write_slides(folder, sheet, truth=truth, sites=sites, seed=seed, edge_px=edge_px)


def make_truth(rng: np.random.Generator, *, patients: int) -> pd.DataFrame:
    """Factors and true risk (log hazard ratio). The factors are uncorrelated in the sample itself, not on average."""
    drawn = rng.standard_normal((patients, len(COEFFICIENTS)))
    left, _, right = np.linalg.svd(drawn - drawn.mean(axis=0), full_matrices=False)
    factors = np.sqrt(patients) * left @ right  # (patients, factors)
    risk = factors @ np.array(list(COEFFICIENTS.values()))
    return pd.DataFrame({"risk": risk, **dict(zip(COEFFICIENTS, factors.T, strict=True))})


def make_outcome(rng: np.random.Generator, *, risk: NDArray[np.float64]) -> pd.DataFrame:
    """Columns time_days and event: Weibull times, and censoring that does not depend on risk.

    A patient's censoring time is a constant times a uniform draw; the constant is chosen so that the fraction
    `CENSORED` of the patients is censored.
    """
    death = WEIBULL_SCALE_DAYS * (rng.exponential(size=len(risk)) / np.exp(risk)) ** (1 / WEIBULL_SHAPE)
    draw = rng.uniform(0.25, 1.0, len(risk))
    censoring = draw * np.quantile(death / draw, 1 - CENSORED)
    time = np.maximum(np.ceil(np.minimum(death, censoring)), 1)
    return pd.DataFrame(
        {"time_days": time.astype("int64"), "event": (death <= censoring).astype("int64")}, dtype="Int64"
    )


def make_sheet(names: list[str]) -> pd.DataFrame:
    """One row per slide, and how it is scanned: columns `scan_mpp`, `in_header` and `tissue` stay out of the sheet.

    Every ninth patient has two slides, every fifteenth was scanned at 40x, and the third lacks a header.
    """
    rows = []
    for number, name in enumerate(names):
        for copy in range(2 if number % 9 == 0 else 1):
            slide_id = f"{name}-01Z-00-DX{copy + 1}"
            rows.append(
                {
                    "slide_id": slide_id,
                    "patient_id": name,
                    "path": f"slides/{slide_id}.svs",
                    "mpp": MPP if number == 2 else np.nan,
                    "scan_mpp": MPP / 2 if number % 15 == 4 else MPP,
                    "in_header": number != 2,
                    "tissue": (number, copy) != (0, 1),
                    "patient": number,
                }
            )
    return pd.DataFrame(rows)


def make_fractions(rng: np.random.Generator, *, shared: float, histology: float) -> dict[str, float]:
    """Parts of the tissue area. High `shared`: solid instead of glandular tumour. High `histology`: necrosis
    instead of lymphocytes. How much tumour, stroma and fat there is says nothing."""
    stroma, fat, tumour = rng.uniform([0.10, 0.02, 0.40], [0.18, 0.07, 0.46])
    rest = 1 - stroma - fat - tumour
    high_grade = 1 / (1 + np.exp(-2.0 * shared + 0.2 * rng.standard_normal()))
    necrotic = 1 / (1 + np.exp(-2.0 * histology + 0.2 * rng.standard_normal()))
    return {
        "solid": tumour * high_grade,
        "glands": tumour * (1 - high_grade),
        "necrosis": rest * necrotic,
        "lymphocytes": rest * (1 - necrotic),
        "fat": fat,
        "stroma": stroma,
    }


def _write_slides(
    folder: Path, sheet: pd.DataFrame, *, truth: pd.DataFrame, sites: NDArray[np.int64], seed: int, edge_px: int
) -> None:
    textures = make_textures(np.random.default_rng([seed, 4]), edge_px=int(1.1 * edge_px))
    stains = [Stain.draw(np.random.default_rng([seed, 5, site])) for site in range(len(SITES))]

    def write(number: int) -> None:
        row = sheet.iloc[number]
        rng = np.random.default_rng([seed, 6, number])
        height_px, width_px = (int(edge) for edge in edge_px * rng.uniform(0.9, 1.1, 2))
        if row["tissue"]:
            patient = truth.iloc[row["patient"]]
            fractions = make_fractions(rng, shared=patient["shared"], histology=patient["histology"])
            stain = stains[sites[row["patient"]]]
            image = make_slide(rng, textures, fractions=fractions, stain=stain, height_px=height_px, width_px=width_px)
        else:
            image = make_blank(rng, height_px=height_px, width_px=width_px)
        factor = round(MPP / row["scan_mpp"])
        mpp = float(row["scan_mpp"]) if row["in_header"] else None
        write_svs(folder / row["path"], enlarge(image, factor=factor) if factor > 1 else image, mpp=mpp)

    with ThreadPoolExecutor(max_workers=2) as threads:
        list(threads.map(write, range(len(sheet))))


def _write(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path, sep="\t", index=False, lineterminator="\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.synthetic", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder that is filled")
    parser.add_argument("--patients", type=int, default=96, help="at least 8 (default: 96)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default: 0)")
    arguments = parser.parse_args()
    write_cohort(arguments.out, patients=arguments.patients, seed=arguments.seed)


if __name__ == "__main__":
    main()
