rule report:
    input:
        patients="results/cohort/patients.tsv",
        slides="results/cohort/slides.tsv",
        attrition="results/cohort/attrition.tsv",
        covariates="results/cohort/covariates.tsv",
        manifests=feature_manifests,
        quality=quality_tables,
        coverage="results/pathways_coverage.tsv",
        splits="results/splits.tsv",
        trained=runs("train"),
        evaluated=runs("evaluate"),
        truth=optional_file("report", "truth"),
    output:
        index=report("results/report/index.html", caption="../report/index.rst", category="Report"),
        metrics=report("results/report/metrics.tsv", caption="../report/metrics.rst", category="Risk"),
        pooled="results/report/pooled.tsv",
        summary=report("results/report/summary.tsv", caption="../report/summary.rst", category="Risk"),
        comparisons=report("results/report/comparisons.tsv", caption="../report/comparisons.rst", category="Risk"),
        ablations=report("results/report/ablations.tsv", caption="../report/ablations.rst", category="Risk"),
        scores=report("results/report/scores.tsv", caption="../report/scores.rst", category="Risk"),
        scores_summary="results/report/scores_summary.tsv",
        modalities=report("results/report/modalities.tsv", caption="../report/modalities.rst", category="Risk"),
        groups="results/report/groups.tsv",
        calibration_table="results/report/calibration.tsv",
        hazards=report("results/report/hazards.tsv", caption="../report/hazards.rst", category="Risk"),
        added_value=report("results/report/added_value.tsv", caption="../report/added_value.rst", category="Risk"),
        costs=report("results/report/costs.tsv", caption="../report/costs.rst", category="Training"),
        events_table="results/report/events.tsv",
        study="results/report/study.tsv",
        warnings=report("results/report/warnings.tsv", caption="../report/warnings.rst", category="Report"),
        attrition_table="results/report/attrition.tsv",
        c_index=report("results/report/c_index.png", caption="../report/c_index.rst", category="Risk"),
        events=report("results/report/events.png", caption="../report/events.rst", category="Cohort"),
        coverage_figure=report("results/report/coverage.png", caption="../report/coverage.rst", category="Cohort"),
        attrition_figures=report(
            expand("results/report/attrition_{what}.png", what=["patients", "slides"]),
            caption="../report/attrition.rst",
            category="Cohort",
        ),
        slides_table="results/report/slides.tsv",
        bad_slides_table="results/report/bad_slides.tsv",
        samples_table="results/report/samples.tsv",
        slides_figure=(
            report("results/report/slides.png", caption="../report/slides.rst", category="Cohort")
            if batches() and config["tiles"]["overlays"]
            else []
        ),
        survival=report(
            expand("results/report/survival_{model}.png", model=reported()),
            caption="../report/survival.rst",
            category="Survival",
        ),
        calibration=report(
            expand("results/report/calibration_{model}.png", model=reported()),
            caption="../report/calibration.rst",
            category="Survival",
        ),
        training=report(
            expand("results/report/training_{model}.png", model=networks()),
            caption="../report/training.rst",
            category="Training",
        ),
    log:
        "logs/report/report.log",
    benchmark:
        "benchmarks/report/report.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(240),
    params:
        config=section("report"),
        inputs=section("inputs"),
    shell:
        "python -m tta_pipeline report --patients {input.patients} --slides {input.slides} --attrition {input.attrition}"
        " --covariates {input.covariates}"
        " --manifests {input.manifests} --quality {input.quality} --coverage {input.coverage} --splits {input.splits} --trained {input.trained}"
        " --evaluated {input.evaluated} --benchmarks $(find benchmarks -name '*.tsv' -not -path '*/report/*' | sort)"
        " --out results/report --config {params.config:q} --inputs {params.inputs:q} 2> {log}"
