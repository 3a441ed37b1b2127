"""The section of the files of a study."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tta_pipeline.section import Section, StudyPath

_ENDPOINT = re.compile(r"(?<![a-z])(os|dss|pfi|pfs|dfi|dfs)(?![a-z])", re.IGNORECASE)  # in the name of a column
_AS_TCGA_CDR = {"PFS": "PFI", "DFS": "DFI"}  # as cBioPortal calls the endpoints of TCGA-CDR


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

    @model_validator(mode="after")
    def _columns_are_of_one_endpoint(self) -> "Inputs":
        time, event = (
            [word.upper() for word in _ENDPOINT.findall(name)] for name in (self.time_column, self.event_column)
        )
        shared = {_AS_TCGA_CDR.get(word, word) for word in time} & {_AS_TCGA_CDR.get(word, word) for word in event}
        if time and event and not shared:
            raise ValueError(
                f"expected the time and the indicator of one endpoint, found the time of {' and '.join(time)} "
                f"(time_column: {self.time_column}) with the indicator of {' and '.join(event)} (event_column: "
                f"{self.event_column}): name two columns of the same endpoint"
            )
        return self
