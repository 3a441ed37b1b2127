"""Small studies of ready-made features, written with the pipeline's own io functions."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from tta_pipeline.io import artifacts, tables

WIDTH = 6
GENES = 12
SETS = [np.arange(0, 5), np.arange(3, 6), np.arange(6, 12)]


@dataclass(frozen=True)
class Study:
    """Paths of a written study; `inputs` are the arguments that train and evaluate share."""

    folder: Path
    patient_id: list[str]

    @property
    def inputs(self) -> dict[str, object]:
        names = {name: self.folder / f"{name}.tsv" for name in ("patients", "slides", "splits")}
        return {**names, "manifests": [], "pathways": self.folder / "pathways.h5"}

    def features(self, patient_id: str) -> list[Path]:
        return sorted((self.folder / "features").glob(f"{patient_id}*.h5"))

    def ids(self, role: str) -> list[str]:
        table = tables.read_table(self.folder / "splits.tsv", columns=tables.SPLITS)
        return list(table.loc[table["role"] == role, "patient_id"])


def write_features_file(path: Path, features: np.ndarray, *, coords: np.ndarray | None = None) -> Path:
    """A ready-made feature file: /features, and /coords where they are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["features"] = features
        if coords is not None:
            file["coords"] = coords
    return path


def write_study(folder: Path, *, n_train: int = 16, n_validation: int = 4, n_test: int = 5, seed: int = 0) -> Study:
    """Patients with 1 or 2 slides of 3 to 9 patches; risk rises with feature 0 and with gene 0."""
    generator = np.random.default_rng(seed)
    roles = ["train"] * n_train + ["validation"] * n_validation + ["test"] * n_test
    ids = [f"P{number:02d}" for number in range(len(roles))]
    risk = generator.standard_normal(len(ids))
    slides = []
    for number, (patient_id, value) in enumerate(zip(ids, risk, strict=True)):
        for slide in range(1 + number % 2):
            features = generator.standard_normal((int(generator.integers(3, 10)), WIDTH))
            features[:, 0] += value
            path = write_features_file(folder / "features" / f"{patient_id}-{slide}.h5", features.astype(np.float16))
            slides.append([f"{patient_id}-{slide}", patient_id, "", np.nan, str(path)])
    tables.write_table(folder / "slides.tsv", pd.DataFrame(slides, columns=list(tables.SLIDES)), columns=tables.SLIDES)
    write_patients(folder / "patients.tsv", ids=ids, risk=risk, generator=generator)
    expression = generator.standard_normal((len(ids), GENES)).astype(np.float32)
    expression[:, 0] += risk
    write_pathways(folder / "pathways.h5", ids=ids, expression=expression)
    splits = pd.DataFrame({"repeat": 0, "fold": 0, "patient_id": ids, "role": roles})
    tables.write_table(folder / "splits.tsv", splits, columns=tables.SPLITS)
    return Study(folder, ids)


def write_patients(path: Path, *, ids: list[str], risk: np.ndarray, generator: np.random.Generator) -> None:
    """Exponential times at rate e^risk; two of three patients have the event."""
    times = np.round(generator.exponential(1000 * np.exp(-risk))) + 1
    event = np.arange(len(ids)) % 3 != 0
    table = pd.DataFrame({"patient_id": ids, "site": "A", "time_days": times, "event": event, "n_slides": 1})
    tables.write_table(path, table, columns=tables.PATIENTS)


def write_pathways(
    path: Path, *, ids: list[str], expression: np.ndarray, genes: list[str] | None = None
) -> artifacts.Pathways:
    """Three overlapping sets over twelve genes."""
    pathways = artifacts.Pathways(
        patient_id=ids,
        genes=genes or [f"G{number}" for number in range(GENES)],
        expression=expression,
        names=["first", "second", "third"],
        indices=np.concatenate(SETS).astype(np.int64),
        indptr=np.cumsum([0, *map(len, SETS)]).astype(np.int64),
    )
    artifacts.write_pathways(path, pathways, options={}, inputs={})
    return pathways
