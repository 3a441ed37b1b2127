"""The config of one study: a pydantic model per section, from which schema, CLI flags and the manual's tables come.

Paths are relative to the working directory of the study; `$NAME` and `~` are expanded.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from tta_pipeline.errors import InputError
from tta_pipeline.model_sections import ARCHITECTURES, PUBLISHED, TTA, Architecture, Model, Tabular
from tta_pipeline.section import Fraction, Section, StudyPath


class Inputs(Section):
    """The files of a study and how to read them."""

    slides: StudyPath = Field(
        description="sheet of slides: slide_id, patient_id, path or features, optional mpp and mask"
    )
    clinical: StudyPath = Field(description="clinical table, one row per patient")
    slide_types: tuple[Literal["DX", "TS", "MS", "BS"], ...] | None = Field(
        None,
        description="slides to use by the type in their TCGA barcode: DX diagnostic (paraffin); TS, MS, BS frozen "
        "(top, middle, bottom); null uses all",
    )
    expression: StudyPath = Field(
        description="expression: a text matrix (case x gene, UCSC Xena, cBioPortal), .parquet, .h5ad, or a folder of "
        "GDC's STAR counts"
    )
    expression_layout: Literal["auto", "patients-in-rows", "genes-in-rows"] = Field(
        "auto", description="of a text matrix; auto: genes in rows where TCGA barcodes or Hugo_Symbol head the columns"
    )
    expression_unit: Literal["log2", "linear", "counts", "z-scores"] = Field(
        "log2",
        description="checked against the values. log2 and z-scores stay as they are; linear (TPM, FPKM, RSEM) becomes "
        "log2(x + 1), counts log2(counts per million + 1)",
    )
    expression_samples: StudyPath | None = Field(None, description="GDC's sample sheet of a folder of STAR counts")
    expression_column: Literal[
        "tpm_unstranded", "fpkm_unstranded", "fpkm_uq_unstranded", "unstranded", "stranded_first", "stranded_second"
    ] = Field("tpm_unstranded", description="column of STAR counts; the last three are counts")
    gene_names: Literal["hgnc"] | StudyPath | None = Field(
        "hgnc",
        description="table by which identifiers of Ensembl and Entrez, former symbols and aliases in matrix and gene "
        "sets become approved symbols: hgnc, the one that is shipped; or a file, HGNC's hgnc_complete_set.txt; null "
        "takes only the version of an Ensembl identifier away",
    )
    sample_types: tuple[Annotated[str, Field(pattern=r"^\d\d$")], ...] = Field(
        ("01",),
        min_length=1,
        description="TCGA sample types to use, the preferred first: 01 primary, 03 blood, 06 metastatic, 11 normal",
    )
    gene_sets: StudyPath = Field(
        description="gene sets: GMT (a line per set: name, description and genes, with tabs between), a folder of such "
        "files, or CSV with one column per set"
    )
    endpoint: Literal["OS", "DSS", "PFI", "DFI"] | None = Field(
        None,
        description="endpoint of a clinical table whose layout is known: TCGA-CDR, cBioPortal, SurvPath or MMP; null "
        "takes the columns named below",
    )
    patient_column: str = Field("patient_id", description="clinical column that identifies the patient")
    time_column: str = Field("time_days", description="clinical column of the follow-up time")
    time_unit: Literal["days", "months"] = Field("days", description="unit of the time column")
    days_per_month: float = Field(
        30.4375, ge=28, le=31, description="days in a month of the time column: 365.25/12; SurvPath's tables use 30"
    )
    check_time_unit: bool = Field(
        True, description="stop where the longest of 30 or more times is below 250 days or above 500 months"
    )
    event_column: str = Field("event", description="clinical column of the indicator, holding 0 and 1")
    event_means: Literal["event", "censorship"] = Field("event", description="what a 1 in the indicator says")
    check_event_rate: bool = Field(
        True,
        description="stop where the events of 30 or more TCGA patients are as many as their projects have censored "
        "patients (TCGA-CDR)",
    )
    covariates: tuple[str, ...] = Field(
        (),
        description="columns of the clinical table to keep for clinical baselines, such as age, sex, stage and grade",
    )
    site_column: str | None = Field(
        None, description="clinical column of the tissue source site; null reads it from TCGA barcodes, TCGA-<site>-..."
    )

    @model_validator(mode="after")
    def _endpoint_names_the_columns(self) -> "Inputs":
        named = ("patient_column", "time_column", "time_unit", "event_column", "event_means")
        own = [key for key in named if getattr(self, key) != type(self).model_fields[key].default]
        if self.endpoint is not None and own:
            raise ValueError(
                f"endpoint takes the columns of a known layout, and {', '.join(own)} would not be used: give either"
            )
        return self


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


class Tiles(Section):
    """Where the tissue is, and the grid of tiles on it."""

    mpp: float = Field(0.5, gt=0.05, lt=20, description="micrometres per pixel of a tile")
    max_upsampling: float = Field(
        1.05,
        ge=1,
        le=4,
        description="a slide whose own µm per pixel exceed `mpp` by more than this factor is bad: it was scanned too "
        "coarsely for such tiles",
    )
    tile_size_px: int = Field(256, ge=16, le=4096, description="tile edge in pixels at `mpp`")
    overlap_px: int = Field(0, ge=0, description="overlap of neighbouring tiles in pixels at `mpp`")
    min_tissue: Fraction = Field(0.5, description="fraction of a tile's area that must be tissue")
    tissue: Literal["stain", "otsu"] = Field(
        "stain",
        description="stain: saturation and optical density, without ink of pens; otsu: Otsu's threshold of saturation "
        "alone. A slide with a mask in the sheet uses that",
    )
    mask_mpp: float = Field(
        8.0, gt=0.5, le=64, description="µm per pixel of the tissue mask; the slide's own where that is coarser"
    )
    min_object_um2: float = Field(20_000.0, ge=0, description="tissue pieces below this area are dropped, in µm²")
    max_hole_um2: float = Field(20_000.0, ge=0, description="holes below this area are filled, in µm²")
    min_focus: float = Field(
        50.0,
        ge=0,
        description="least variance of the Laplacian of a tile at 1 µm per pixel (or the slide's or the tile's own, "
        "where coarser), of grey values 0 to 255: sharp tissue has thousands, 2 µm out of focus below 60; 0: not used",
    )
    max_tiles: int | None = Field(
        None, ge=1, description="tiles kept per slide, a seeded sample that is even over the tissue; null keeps all"
    )
    seed: int = Field(0, ge=0, description="seed of that sample")
    mpp_from_objective: bool = Field(
        False, description="a slide that says nothing but its objective power P has 10/P µm per pixel (40x: 0.25)"
    )
    overlays: bool = Field(
        True, description="also write overlays/{slide_id}.png: outline of the tissue, kept tiles, others with reason"
    )

    @model_validator(mode="after")
    def _overlap_below_size(self) -> "Tiles":
        if self.overlap_px >= self.tile_size_px:
            raise ValueError(f"overlap_px must be below tile_size_px = {self.tile_size_px}, found {self.overlap_px}")
        return self


class Features(Section):
    """The encoder of tiles."""

    encoder: str = Field(
        "resnet50.a1_in1k",
        description="timm model name, hf-hub: id, or a preset: uni, uni2-h, virchow, virchow2, h-optimus-0, gigapath, "
        "phikon, resnet50-layer3",
    )
    encoder_options: dict[str, Any] = Field(
        {}, description="keyword arguments of timm.create_model that the model's card asks for, such as init_values"
    )
    weights: StudyPath | None = Field(
        None, description="local weights, .safetensors or a state dict of torch (.pth); null downloads from the hub"
    )
    stain: Literal["none", "macenko", "reinhard"] = Field(
        "none", description="stain normalisation of each tile, by the package torchstain, which is to be installed"
    )
    stain_target: StudyPath | None = Field(None, description="picture of a tile whose stain all tiles are given")
    batch_size: int = Field(64, ge=1, description="tiles per forward pass")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="auto: bf16 on CUDA, else fp32")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA when there is one")
    decode_threads: int = Field(2, ge=1, description="threads that read tiles while the encoder works")
    reader: Literal["auto", "openslide"] = Field(
        "auto", description="auto: compressed JPEG and JPEG 2000 tiles where their layout is known, OpenSlide elsewhere"
    )

    @model_validator(mode="after")
    def _stain_has_a_target(self) -> "Features":
        if (self.stain == "none") != (self.stain_target is None):
            raise ValueError("stain and stain_target go together: give both, or neither")
        return self


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
    seed: int = Field(0, ge=0, description="seed of the draws")


class Search(Section):
    """Values that are tried, all pairs of them."""

    learning_rate: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1, description="learning rates")
    weight_decay: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1, description="weight decays")


class Train(Section):
    """How models are trained."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1, description="one run per seed")
    epochs: int = Field(30, ge=1, description="passes over the training patients")
    batch_size: int = Field(32, ge=1, description="patients per step")
    loss: Literal["cox", "nll", "ranking"] = Field(
        "cox",
        description="cox: partial likelihood; nll: likelihood of a hazard for each bin of follow-up; ranking: smooth "
        "bound of the C-index",
    )
    bins: int = Field(4, ge=2, description="bins of nll and of sampling: quantiles of the training part's event times")
    censored_weight: Fraction = Field(
        1.0, description="weight of censored patients in nll (1 - alpha of the publications)"
    )
    sampling: Literal["stratified", "weighted"] = Field(
        "stratified",
        description="stratified: each patient once per epoch, events shared out over the batches; weighted: drawn with "
        "replacement, every bin and indicator equally often",
    )
    optimiser: Literal["adamw", "adam", "radam", "sgd"] = Field(
        "adamw", description="sgd has momentum 0.9; all but adamw decay by an L2 term"
    )
    schedule: Literal["cosine", "constant"] = Field("cosine", description="of the learning rate after the warm-up")
    patches: int = Field(4096, ge=1, description="patches drawn per patient and step; fewer are used whole")
    learning_rate: float = Field(1e-4, gt=0, description="peak of the schedule")
    weight_decay: float = Field(1e-5, ge=0, description="adamw: not on biases and norms")
    warmup_fraction: Fraction = Field(0.5, description="part of the steps that warm up linearly")
    gradient_clip: float = Field(5.0, gt=0, description="largest gradient norm")
    ties: Literal["efron", "breslow"] = Field("efron", description="tied event times in the Cox likelihood")
    checkpoint: Literal["last", "validation", "published"] = Field(
        "last",
        description="weights of the last epoch; of the best loss on the validation part; or, as the published runs "
        "did, of the best loss on the test part: no estimate for new patients, and every table says so",
    )
    search: Search | None = Field(
        None,
        description="lists `learning_rate` and `weight_decay`, in place of those two keys: each pair is trained, and "
        "the one of the lowest loss on the validation part is kept; the same lists for all models, none for a model "
        "with `recipe: published`. Training takes as many times longer as there are pairs",
    )
    standardise_features: bool = Field(False, description="scale features by mean and variance of the training fold")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA when there is one")
    cache_gb: float = Field(8.0, ge=0, description="features kept in memory, in GB; the rest is read again")

    @model_validator(mode="after")
    def _searched_on_validation(self) -> "Train":
        if self.search is not None and self.checkpoint == "published":
            raise ValueError(
                "search chooses on the validation part, checkpoint: published on the test part: leave one of them out"
            )
        return self


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

    bootstrap: int = Field(1000, ge=100, description="bootstrap samples of patients")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")
    truth: StudyPath | None = Field(
        None, description="TSV of patient_id, risk: a known true risk, for simulated cohorts"
    )
    without: tuple[str, ...] = Field(
        (), description="models that are not waited for and not shown, such as one that failed; the page names them"
    )


SHARED_BY_MODELS = {"seeds", "search"}  # keys of the section train that no model has for itself


def recipe_of(model: Architecture, common: Train) -> Train:
    """How a model is trained: the section `train`, over it the published recipe if that is wanted, then its own keys.

    A published recipe is not searched.

    Raises
    ------
    InputError
        A key of the model's own `train` is unknown, out of its limits, or one that all models share.
    """
    for key in SHARED_BY_MODELS & set(model.train):
        raise InputError(
            f"models: train.{key}: expected the {key} of all models in the section train, found some of one."
        )
    published = PUBLISHED[model.architecture] | {"search": None} if model.recipe == "published" else {}
    try:
        return Train.model_validate({**common.model_dump(), **published, **model.train})
    except ValidationError as error:
        raise InputError(describe(error, where=f"models: {model.architecture}: train")) from error


class Study(Section):
    """One study: one config file."""

    inputs: Inputs
    bad_slides: BadSlides = BadSlides()
    cohort: Cohort = Cohort()
    tiles: Tiles = Tiles()
    features: Features = Features()
    pathways: Pathways = Pathways()
    splits: Splits = Splits()
    models: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")], Model] = Field(
        {"tta": TTA()}, min_length=1, description="name -> model; each is trained on every fold and seed"
    )
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()

    @property
    def networks(self) -> dict[str, Architecture]:
        """The models that are trained in epochs, with a recipe."""
        return {name: one for name, one in self.models.items() if isinstance(one, Architecture)}

    @model_validator(mode="after")
    def _report_has_models(self) -> "Study":
        unknown = [name for name in self.report.without if name not in self.models]
        if unknown or set(self.report.without) >= set(self.models):
            raise ValueError(
                f"report.without: expected some of the models {', '.join(self.models)}, found "
                f"{', '.join(unknown) or 'all of them'}"
            )
        return self

    @model_validator(mode="after")
    def _recipes_are_valid(self) -> "Study":
        for model in self.networks.values():
            recipe_of(model, self.train)
        return self

    @model_validator(mode="after")
    def _covariates_are_named(self) -> "Study":
        reading = [name for name, one in self.models.items() if isinstance(one, Tabular) and one.needs_covariates]
        if reading and not self.inputs.covariates:
            raise InputError(
                f"models: {', '.join(reading)}: expected clinical covariates in inputs.covariates, found none. Name "
                "columns of the clinical table there, such as age, sex, stage and grade, or leave the model out."
            )
        return self


def load(path: Path) -> Study:
    """Read a study's config file.

    Raises
    ------
    InputError
        The file is missing or not YAML, a key is unknown, a value is of the wrong type or out of its limits.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a config file, found nothing. Give the path of a YAML file.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: expected YAML, found: {error}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected sections at the top level, found {type(content).__name__}.")
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise InputError(describe(error, where=str(path))) from error


def describe(error: ValidationError, *, where: str) -> str:
    """One message for a pydantic error: each wrong key with what was expected and what came."""
    lines = [
        f"{where}: {'.'.join(map(str, problem['loc'])) or 'config'}: {problem['msg']}, found {problem['input']!r}."
        f"{_meant(problem)}"
        for problem in error.errors()
    ]
    return "\n".join([*lines, "See config/README.md for every key, its unit and its limits."])


def _meant(problem: ErrorDetails) -> str:
    """A key like the unknown one that a problem names."""
    if problem["type"] != "extra_forbidden":
        return ""
    known = {key for section in _sections(Study) for key in section.model_fields}
    near = difflib.get_close_matches(str(problem["loc"][-1]), sorted(known), n=1)
    return f" Do you mean {near[0]}?" if near else ""


def _sections(section: type[Section]) -> list[type[Section]]:
    own = [field.annotation for field in section.model_fields.values()]
    below = [each for each in own if isinstance(each, type) and not get_args(each) and issubclass(each, Section)]
    return [section, *below, *ARCHITECTURES.values()]
