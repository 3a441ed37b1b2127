"""The sections that say who takes part, with which genes, and in which role."""

from typing import Literal

from pydantic import Field

from tta_pipeline.section import Fraction, Section, StudyPath


class Cohort(Section):
    """Who is in the study."""

    slides_per_job: int | None = Field(
        None,
        ge=1,
        description="slides of a new tiles or features job; null: 16, and above 8,000 slides as many as make 500 "
        "jobs. Known slides keep their job (batches.tsv)",
    )
    zero_time: Literal["fail", "exclude"] = Field(
        "exclude", description="a patient whose time is 0: stop, or leave the patient out and say so"
    )


class BadSlides(Section):
    """What happens to a slide that cannot be used: no tissue, unreadable, NaN features."""

    policy: Literal["fail", "exclude"] = Field("fail", description="stop, or leave the slide out and say so")
    limit: int = Field(
        0, ge=0, description="slides of all jobs that may be left out; with more, the study stops where training begins"
    )


class Pathways(Section):
    """Which gene sets become tokens."""

    min_genes: int = Field(
        3,
        ge=1,
        description="sets with fewer genes in the expression matrix are left out. On SurvPath's TCGA matrices, 3 drops "
        "the 56 of 281 Reactome sets that hold one or two genes and no Hallmark set; 5 would drop 112 and 3",
    )
    min_coverage: Fraction = Field(
        0.0, description="sets of whose genes a smaller part is in the expression matrix are left out"
    )


class Splits(Section):
    """Who trains, validates and tests."""

    file: StudyPath | None = Field(
        None,
        description="read the splits from this TSV (repeat, fold, patient_id, role) or from this folder of splits as "
        "SurvPath or MMP publish them, instead of drawing them",
    )
    strangers: Literal["fail", "drop"] = Field(
        "fail",
        description="patients of that file who are not in the cohort, and of the cohort who are not in the file: stop, "
        "or leave them out and say so",
    )
    folds: int = Field(5, ge=2, description="parts of each repeat; each part is tested once")
    repeats: int = Field(1, ge=1, description="times the k-fold is drawn anew")
    group_by_site: bool = Field(False, description="keep each tissue source site within one role of a fold")
    validation_fraction: float = Field(
        0.2,
        ge=0,
        lt=0.9,
        description="part of the patients outside the test part that validates, drawn from the training part of "
        "published splits, too, if they have no validation part; 0: no validation, published splits as they are",
    )
    inner_folds: int = Field(
        5,
        ge=2,
        description="parts of each training part, where a model has `risks_of`: the models that it names are trained "
        "once more for each of them",
    )
    seed: int = Field(0, ge=0, description="seed of the draws")
