rule report:
    input:
        patients="results/cohort/patients.tsv",
        slides="results/cohort/slides.tsv",
        attrition="results/cohort/attrition.tsv",
        manifests=feature_manifests,
        coverage="results/pathways_coverage.tsv",
        splits="results/splits.tsv",
        trained=runs("train"),
        evaluated=runs("evaluate"),
        truth=optional_file("report", "truth"),
    output:
        index="results/report/index.html",
    log:
        "logs/report/report.log",
    benchmark:
        "benchmarks/report/report.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=attempts(4000),
        runtime=attempts(60),
    params:
        config=section("report"),
    shell:
        "python -m tta_pipeline report --patients {input.patients} --slides {input.slides} --attrition {input.attrition}"
        " --manifests {input.manifests} --coverage {input.coverage} --splits {input.splits} --trained {input.trained}"
        " --evaluated {input.evaluated} --out results/report --config {params.config:q} 2> {log}"
