"""The sections of risks and of what is said of them."""

from typing import Annotated, Literal

from pydantic import Field

from tta_pipeline.section import Section, StudyPath


class Evaluate(Section):
    """How risks are computed."""

    max_patches: int = Field(200_000, ge=1, description="patches per patient; above it a fixed seeded subset")
    seed: int = Field(0, ge=0, description="seed of that subset")
    horizons_days: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (365.0, 1095.0, 1825.0), description="times of the survival estimates"
    )
    exchanges: int = Field(
        5,
        ge=0,
        description="times that a model of two modalities is also scored with one of them from other test patients, to "
        "show whether it uses that modality; each costs one more evaluation per modality",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA when there is one")
    cache_gb: float = Field(8.0, ge=0, description="features kept in memory, in GB; the rest is read again")


class Report(Section):
    """Metrics and figures."""

    bootstrap: int = Field(
        1000,
        ge=100,
        description="bootstrap samples of patients, at least; more where the correction for pairs of models needs them",
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")
    truth: StudyPath | None = Field(
        None, description="TSV of patient_id, risk: a known true risk, for simulated cohorts"
    )
    without: tuple[str, ...] = Field(
        (), description="models that are not waited for and not shown, such as one that failed; the page names them"
    )
