"""The columns of the report's own tables, each `<name>.tsv` of its folder."""

from tta_pipeline.io import tables

# One row per test part: comparable pairs, C-index with its interval, and why one is undefined (else empty).
METRICS = {
    "model": "string",
    "repeat": "int64",
    "fold": "int64",
    "seed": "int64",
    "n_train": "int64",
    "n_train_events": "int64",
    "n_test": "int64",
    "n_events": "int64",
    "n_pairs": "int64",
    "c_index": "float64",
    "c_low": "float64",
    "c_high": "float64",
    "reason": "string",
}
# One row per repeat and seed: C over the comparable pairs within the folds, with its bootstrap interval.
POOLED = {
    "model": "string",
    "repeat": "int64",
    "seed": "int64",
    "n_test": "int64",
    "n_events": "int64",
    "n_pairs": "int64",
    "c_index": "float64",
    "c_low": "float64",
    "c_high": "float64",
    "reason": "string",
}
# One row per model; numerics.results.summarise says what the columns are.
SUMMARY = {
    "model": "string",
    "n_patients": "int64",
    "n_events": "int64",
    "n_repeats": "int64",
    "n_folds": "int64",
    "n_seeds": "int64",
    "n_parts": "int64",
    "n_defined": "int64",
    "c_mean": "float64",
    "c_std_folds": "float64",
    "c_std_seeds": "float64",
    "c_std_repeats": "float64",
    "c_pooled": "float64",
    "c_low": "float64",
    "c_high": "float64",
    "undefined_samples": "int64",
    "c_true_risk": "float64",
    "reason": "string",
}
# One row per pair of models: C of model_a minus C of model_b.
COMPARISONS = {
    "model_a": "string",
    "model_b": "string",
    "c_difference": "float64",
    "c_low": "float64",
    "c_high": "float64",
    "p_bootstrap": "float64",
    "p_folds": "float64",
    "p_corrected": "float64",
    "c_detectable": "float64",
    "verdict": "string",
    "reason": "string",
}
# One row per test part and metric over time; numerics.scores and numerics.time_metrics say what the columns are.
SCORES = {
    "model": "string",
    "repeat": "int64",
    "fold": "int64",
    "seed": "int64",
    "metric": "string",
    "from_days": "float64",
    "at_days": "float64",
    "tau_days": "float64",
    "n_beyond": "int64",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "reference": "float64",
    "reason": "string",
}
# One row per model and metric over time.
SCORES_SUMMARY = {
    "model": "string",
    "metric": "string",
    "at_days": "float64",
    "mean": "float64",
    "low": "float64",
    "high": "float64",
    "std_folds": "float64",
    "std_seeds": "float64",
    "reference": "float64",
    "n_parts": "int64",
    "n_defined": "int64",
    "reason": "string",
}
# One row per model of two modalities and modality; numerics.modalities says what the columns are.
MODALITIES = {
    "model": "string",
    "modality": "string",
    "draws": "int64",
    "n_parts": "int64",
    "n_checked": "int64",
    "c_index": "float64",
    "c_exchanged": "float64",
    "c_lost": "float64",
    "c_low": "float64",
    "c_high": "float64",
    "p_bootstrap": "float64",
    "p_corrected": "float64",
    "verdict": "string",
}
# One row per variant of the first model; numerics.results.ablations says what the columns are.
ABLATIONS = {
    "model": "string",
    "changes": "string",
    "c_mean": "float64",
    "c_std_folds": "float64",
    "c_pooled": "float64",
    "c_low": "float64",
    "c_high": "float64",
    "c_difference": "float64",
    "difference_low": "float64",
    "difference_high": "float64",
    "p_corrected": "float64",
    "verdict": "string",
}
# One row per model: high-risk against low-risk test patients.
GROUPS = {
    "model": "string",
    "repeat": "int64",
    "seed": "int64",
    "cut_off": "string",
    "n_low": "int64",
    "events_low": "int64",
    "median_days_low": "float64",
    "n_high": "int64",
    "events_high": "int64",
    "median_days_high": "float64",
    "chi2": "float64",
    "p": "float64",
    "reason": "string",
}
# One row per model, horizon and bin of patients by prediction (0: all); numerics.risk_checks says what the columns are.
CALIBRATION = {
    "model": "string",
    "repeat": "int64",
    "seed": "int64",
    "at_days": "float64",
    "bin": "int64",
    "n": "int64",
    "n_events": "int64",
    "predicted": "float64",
    "observed": "float64",
    "low": "float64",
    "high": "float64",
    "ratio": "float64",
    "difference": "float64",
    "missing": "int64",
    "reason": "string",
}
# One row per model: the test of proportional hazards of its risk.
HAZARDS = {
    "model": "string",
    "repeat": "int64",
    "seed": "int64",
    "correlation": "float64",
    "chi2": "float64",
    "p": "float64",
    "n_events": "int64",
    "reason": "string",
}
# One row per model and clinical covariate; numerics.risk_checks says what the columns are.
ADDED_VALUE = {
    "model": "string",
    "repeat": "int64",
    "seed": "int64",
    "covariate": "string",
    "scale": "string",
    "n": "int64",
    "missing": "int64",
    "c_covariate": "float64",
    "c_risk": "float64",
    "b_alone": "float64",
    "b_risk": "float64",
    "p_alone": "float64",
    "p_risk": "float64",
    "p_covariate": "float64",
    "verdict": "string",
    "reason": "string",
}
# One row per model; numerics.training_costs says what the columns are.
COSTS = {
    "model": "string",
    "n_fits": "int64",
    "n_parameters": "float64",
    "epochs": "float64",
    "n_jobs": "int64",
    "seconds_per_epoch": "float64",
    "peak_mb": "float64",
}
# One row per repeat and fold of the splits.
EVENTS = {
    "repeat": "int64",
    "fold": "int64",
    "n_train": "int64",
    "n_train_events": "int64",
    "n_validation": "int64",
    "n_validation_events": "int64",
    "n_test": "int64",
    "n_test_events": "int64",
    "n_test_sites": "int64",
    "n_shared_sites": "int64",
    "n_unknown_sites": "int64",
}
# One row per reason for which samples of expression are not used.
SAMPLES = {"reason": "string", "samples": "int64", "patients": "int64", "example": "string"}
# One row per step at which patients or slides left; the first of a kind is where it starts.
ATTRITION_STEPS = {"kind": "string", "stage": "string", "reason": "string", "left": "int64", "remaining": "int64"}
# One row per slide that could not be used.
BAD_SLIDES = {"slide_id": "string", "patient_id": "string", "stage": "string", "reason": "string"}
# What the study reads: its endpoint, and the names of its files.
STUDY = {"what": "string", "value": "string"}
# One row per warning of the page, in their order there.
WARNINGS = {"number": "int64", "warning": "string"}

TABLES = {
    "metrics": METRICS,
    "pooled": POOLED,
    "summary": SUMMARY,
    "comparisons": COMPARISONS,
    "scores": SCORES,
    "scores_summary": SCORES_SUMMARY,
    "modalities": MODALITIES,
    "ablations": ABLATIONS,
    "groups": GROUPS,
    "calibration": CALIBRATION,
    "hazards": HAZARDS,
    "added_value": ADDED_VALUE,
    "costs": COSTS,
    "events": EVENTS,
    "attrition": ATTRITION_STEPS,
    "bad_slides": BAD_SLIDES,
    "samples": SAMPLES,
    "slides": tables.QUALITY,
    "study": STUDY,
    "warnings": WARNINGS,
}
