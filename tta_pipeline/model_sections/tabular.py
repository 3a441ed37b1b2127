"""Sections of the models that are not networks: fitted in one go, on a table with a row per patient."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tta_pipeline.section import Section


class Tabular(Section):
    """What the models that are not networks share.

    needs_covariates: whether the model reads the clinical covariates of `inputs.covariates`.
    """

    needs_covariates: ClassVar[bool] = False
    architecture: str

    @model_validator(mode="before")
    @classmethod
    def _no_recipe(cls, entry: Any) -> Any:
        given = sorted({"recipe", "train"} & set(entry)) if isinstance(entry, dict) else []
        if given:
            raise ValueError(
                f"expected no {' and no '.join(given)}: {entry.get('architecture')} is not trained in epochs, and "
                "takes no key of the section train. Remove it"
            )
        return entry


class ClinicalCox(Tabular):
    """Cox's model of the clinical covariates that `inputs.covariates` names (Cox, J. R. Stat. Soc. B 1972)."""

    needs_covariates: ClassVar[bool] = True
    architecture: Literal["clinical-cox"]
    penalty: float = Field(0.1, ge=0, description="ridge penalty of a squared coefficient, halved; 0: none")


class Stacked(Tabular):
    """What the models share that read risks of other models.

    Of a training patient, the risk is by a fit that did not see that patient: each model of `risks_of` is also trained
    inside of every training part, on all but one of its `splits.inner_folds` parts in turn.
    """

    risks_of: tuple[str, ...] = Field(
        min_length=1, description="names of other models of this study, none of which has `risks_of` itself"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.risks_of)) < len(self.risks_of):
            raise ValueError(f"risks_of: expected each model once, found {', '.join(self.risks_of)}")
        return self


class ClinicalPlus(Stacked):
    """Cox's model of clinical covariates and of risks of other models, to show what these add."""

    needs_covariates: ClassVar[bool] = True
    architecture: Literal["clinical-plus"]
    penalty: float = Field(0.1, ge=0, description="ridge penalty of a squared coefficient, halved; 0: none")


class RiskSum(Stacked):
    """Late fusion without a fitted weight: the sum of the models' standardised risks."""

    architecture: Literal["risk-sum"]
    risks_of: tuple[str, ...] = Field(
        min_length=2, description="names of other models of this study, none of which has `risks_of` itself"
    )


class ElasticNet(Tabular):
    """Cox's model of pathway scores with an elastic-net penalty (Simon et al., J. Stat. Softw. 2011)."""

    architecture: Literal["elastic-net"]
    l1_ratio: float = Field(0.5, gt=0, le=1, description="part of the penalty that is L1 and selects; 1: lasso")
    penalties: int = Field(100, ge=2, description="penalties of the path, from the smallest that selects nothing")
    smallest_penalty: float = Field(0.01, gt=0, lt=1, description="last penalty of the path, as part of the first")
    inner_folds: int = Field(
        5, ge=2, description="parts of the training part by whose partial likelihood the penalty is chosen"
    )


class SurvivalForest(Tabular):
    """Random survival forest on pathway scores (Ishwaran et al., Ann. Appl. Stat. 2008)."""

    architecture: Literal["survival-forest"]
    trees: int = Field(1000, ge=1, description="trees, each of a bootstrap sample of the training part")
    min_samples_split: int = Field(10, ge=2, description="patients that a node must hold to be split")
    min_samples_leaf: int = Field(15, ge=1, description="patients that a leaf must hold")
    max_features: Literal["sqrt", "log2", "all"] = Field("sqrt", description="gene sets tried at a split, of P")
