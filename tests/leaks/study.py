"""A small study as a user brings it, taken through the stages; what is planted, poisoned or put in another order."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from tests.builders import Study, write_features_file
from tests.models.test_baselines import SMALL
from tta_pipeline import config
from tta_pipeline.io import artifacts, tables
from tta_pipeline.io.artifacts import Predictions
from tta_pipeline.model_sections import ARCHITECTURES, Stacked
from tta_pipeline.stages import cohort, evaluate, pathways, splits, train

GENES, WIDTH, INNER = 12, 6, 2
SETS = {"LATE": ["G04", "G03", "G05"], "FIRST": ["G00", "G01", "G02", "G03"], "OTHER": ["G11", "G06", "G09", "G08"]}
# Options of an architecture; one that is not named here takes those of SMALL that its section has.
OPTIONS: dict[str, dict[str, Any]] = {
    "tta": {"hidden_dim": 8, "shared_dim": 8, "prototypes": 3, "heads": 2},
    "survival-forest": {"trees": 100, "min_samples_leaf": 5},
    "clinical-plus": {"risks_of": ("snn",)},
    "risk-sum": {"risks_of": ("mean-pool", "snn")},
}
STACKED = [name for name, section in ARCHITECTURES.items() if issubclass(section, Stacked)]  # of architectures' names
QUICK = {"epochs": 2, "batch_size": 8, "patches": 4, "bins": 2, "learning_rate": 0.01, "device": "cpu"}


@dataclass
class Raw:
    """The files of a study before they are written.

    outcome: time_days, event, age and stage by patient. expression: patients x genes, of which one stands there twice,
    the second time with the smaller mean.
    bags: slide -> (patient, features).
    """

    outcome: pd.DataFrame
    expression: pd.DataFrame
    bags: dict[str, tuple[str, np.ndarray]]
    sets: dict[str, list[str]] = field(default_factory=lambda: dict(SETS))


def draw(*, patients: int = 40, planted: bool = False, patches: tuple[int, int] = (3, 9), noise: int = 0) -> Raw:
    """Patients with one or two slides of some patches; nothing but what is planted has to do with outcomes.

    planted: minus the logarithm of the time is written into the genes of a set, a feature and the age. patches: fewest
    and most of a slide, or of half of a patient's only one. noise: how many covariates there are beside age and stage.
    """
    generator = np.random.default_rng(0)
    ids = [f"P{number:03d}" for number in range(patients)]
    time_days = np.round(generator.exponential(1000, patients), 1) + 1
    age = generator.uniform(30, 80, patients)
    expression = generator.standard_normal((patients, GENES)).round(3)
    lengths = generator.integers(patches[0], patches[1] + 1, (patients, 2))
    features = [generator.standard_normal((int(sum(two)), WIDTH)) for two in lengths]
    if planted:
        leak = -np.log(time_days)
        leak = (leak - leak.mean()) / leak.std()
        age = 50 + 10 * leak
        expression[:, :4] += 3 * leak[:, None]  # a whole set: a mean over a set would water one gene down
        for own, value in zip(features, leak, strict=True):
            own[:, 0] = 3 * value
    bags = {}
    for number, (name, own) in enumerate(zip(ids, features, strict=True)):
        first = int(lengths[number, 0])
        slides = [own[:first], own[first:]] if number % 2 else [own]
        bags |= {f"{name}-{slide}": (name, one.astype(np.float16)) for slide, one in enumerate(slides)}
    outcome = {"time_days": time_days, "event": np.arange(patients) % 3 != 0, "age": age.round(2)}
    outcome["stage"] = np.array(["I", "II", "III"])[generator.integers(0, 3, patients)]
    outcome |= {f"noise{number:02d}": generator.standard_normal(patients).round(3) for number in range(noise)}
    genes = [f"G{number:02d}" for number in range(GENES)]
    second = expression[:, 0] - 1
    table = pd.DataFrame(np.column_stack([expression, second]), index=ids, columns=[*genes, "G00"])
    return Raw(pd.DataFrame(outcome, index=ids), table, bags)


def shuffled(raw: Raw, *, seed: int) -> Raw:
    """The same study, its patients, slides, genes, sets and the genes of its sets written in another order."""
    generator = np.random.default_rng(seed)

    def mix(names: Sequence[str]) -> list[str]:
        return [names[index] for index in generator.permutation(len(names))]

    patients = list(raw.outcome.index)
    return Raw(
        outcome=raw.outcome.loc[mix(patients)],
        expression=raw.expression.loc[mix(patients)].iloc[:, generator.permutation(GENES + 1)],
        bags={slide: raw.bags[slide] for slide in mix(list(raw.bags))},
        sets={name: mix(raw.sets[name]) for name in mix(list(raw.sets))},
    )


def write(raw: Raw, folder: Path) -> config.Inputs:
    """The sheets and files of a study in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (slide, (patient, features)) in enumerate(raw.bags.items()):  # the names of files follow the order too
        write_features_file(folder / f"features/{number:03d}.h5", features)
        rows.append([slide, patient, f"features/{number:03d}.h5"])
    pd.DataFrame(rows, columns=["slide_id", "patient_id", "features"]).to_csv(folder / "sheet.csv", index=False)
    raw.outcome.astype({"event": int}).to_csv(folder / "clinical.csv", index_label="patient_id")
    raw.expression.T.to_csv(folder / "rna.csv", index_label="gene")
    lines = ["\t".join([name, "", *genes]) for name, genes in raw.sets.items()]
    (folder / "sets.gmt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config.Inputs(
        slides=folder / "sheet.csv",
        clinical=folder / "clinical.csv",
        expression=folder / "rna.csv",
        expression_unit="z-scores",
        expression_layout="genes-in-rows",
        gene_names=None,
        gene_sets=folder / "sets.gmt",
        covariates=tuple(raw.outcome.columns.drop(["time_days", "event"])),
    )


def prepare(raw: Raw, folder: Path) -> Study:
    """The study after cohort, pathways and splits."""
    inputs = write(raw, folder / "raw")
    cohort.run(out=folder, inputs=inputs, config=config.Cohort(), bad_slides=config.BadSlides())
    read_genes(folder, inputs)
    splits.run(
        patients=folder / "patients.tsv",
        out=folder / "splits.tsv",
        parts=folder / "parts.tsv",
        inner=folder / "inner_splits.tsv",
        config=config.Splits(folds=3, validation_fraction=0.25, inner_folds=INNER),
    )
    return Study(folder, list(raw.outcome.index))


def read_genes(folder: Path, inputs: config.Inputs) -> None:
    """The pathways stage."""
    pathways.run(
        patients=folder / "patients.tsv",
        inputs=inputs,
        out=folder / "pathways.h5",
        coverage=folder / "coverage.tsv",
        config=config.Pathways(),
    )


def _taken(study: Study, stage: Callable[..., None]) -> dict[str, Any]:
    """The files of a study that a stage takes, as its signature says."""
    files = study.inputs | {"covariates": study.folder / "covariates.tsv"}
    return {name: file for name, file in files.items() if name in signature(stage).parameters}


def fit(study: Study, architecture: str, *, own: Mapping[str, Any] | None = None, **options: Any) -> Path:
    """The artifact of the train stage of fold 0; `own` are options of the model, of those that its section has.

    For a model that reads risks, the models that give them are trained before, on fold 0 and inside of it.
    """
    out = study.folder / f"{'-'.join([architecture, *map(str, options.values())])}.h5"
    if architecture not in STACKED:
        return _fit(study, architecture, out=out, own=own, **options)
    # None of them may choose its epoch on the patients of whom it gives risks.
    theirs = {key: value for key, value in options.items() if value != "published"}
    inner, risks = study.folder / "inner_splits.tsv", []
    for base in OPTIONS[architecture]["risks_of"]:
        _fit(study, base, out=_base(out, base), own=own, **theirs)
        for fold in range(INNER):
            trained = _fit(study, base, out=_base(out, base, fold), own=own, splits=inner, fold=fold, **theirs)
            risks.append(_predict(study, trained, out=trained.with_suffix(".risks.h5"), splits=inner))
    return _fit(study, architecture, out=out, own=own, inner_splits=inner, risks=risks, **options)


def _base(trained: Path, name: str, fold: int | None = None) -> Path:
    """The artifact of a model whose risks another reads, of the same fold or of one inside of it."""
    return trained.with_name(f"{trained.stem}-{name}{'' if fold is None else f'-inner{fold}'}.h5")


def _fit(
    study: Study,
    architecture: str,
    *,
    out: Path,
    own: Mapping[str, Any] | None,
    fold: int = 0,
    inner_splits: Path | None = None,
    risks: Sequence[Path] = (),
    splits: Path | None = None,
    **options: Any,
) -> Path:
    section = ARCHITECTURES[architecture]
    known = OPTIONS.get(architecture) or {key: value for key, value in SMALL.items() if key in section.model_fields}
    known = known | {key: value for key, value in (own or {}).items() if key in section.model_fields}
    train.run(
        **_taken(study, train.run) | ({} if splits is None else {"splits": splits}),
        repeat=0,
        fold=fold,
        seed=0,
        name=architecture,
        out=out,
        inner_splits=inner_splits,
        risks=list(risks),
        model=section(architecture=architecture, **known),  # type: ignore[arg-type]
        config=config.Train.model_validate(QUICK | options),
        bad_slides=config.BadSlides(),
    )
    return out


def predict(study: Study, trained: Path) -> Predictions:
    """What the evaluate stage says of the test patients."""
    out = study.folder / "evaluate.h5"
    bases = artifacts.read_checkpoint(trained).attributes["model"].get("risks_of", [])
    risks = [_predict(study, _base(trained, one), out=out.with_name(f"risks-{one}.h5")) for one in bases]
    return artifacts.read_predictions(_predict(study, trained, out=out, risks=risks))


def _predict(study: Study, trained: Path, *, out: Path, splits: Path | None = None, risks: Sequence[Path] = ()) -> Path:
    evaluate.run(
        trained=trained,
        **_taken(study, evaluate.run) | ({} if splits is None else {"splits": splits}),
        out=out,
        config=config.Evaluate(device="cpu", exchanges=0),
        bad_slides=config.BadSlides(),
        risks=list(risks),
    )
    return out


def content(path: Path) -> dict[str, str]:
    """Every dataset and attribute of a train artifact, by name; equal text means equal numbers, bit for bit."""
    found: dict[str, str] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.update({name: repr(node[()].tolist())}) if _holds(node) else None)
        found |= {f"attributes/{key}": repr(value) for key, value in json.loads(file.attrs["model"]).items()}
    return found


def _holds(node: h5py.Group | h5py.Dataset) -> bool:
    return isinstance(node, h5py.Dataset)


def traces(clean: Path, other: Path) -> set[str]:
    """Names of what differs between two artifacts."""
    left, right = content(clean), content(other)
    return {name for name in left.keys() | right.keys() if left.get(name) != right.get(name)}


def tested(study: Study) -> list[str]:
    """The test patients of fold 0."""
    table = tables.read_table(study.folder / "splits.tsv", columns=tables.SPLITS)
    return list(table.loc[(table["fold"] == 0) & (table["role"] == "test"), "patient_id"])


def change_outcomes(study: Study, changed: pd.DataFrame) -> None:
    """Write other times and events of some patients into patients.tsv."""
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS).set_index("patient_id")
    table.loc[changed.index, ["time_days", "event"]] = changed[["time_days", "event"]]
    table = table.astype({"event": bool}).reset_index()
    tables.write_table(study.folder / "patients.tsv", table, columns=tables.PATIENTS)
