rule cohort:
    input:
        slides=input_file("slides"),
        clinical=input_file("clinical"),
        expression=input_file("expression"),
        samples=optional_file("inputs", "expression_samples"),
        gene_names=optional_file("inputs", "gene_names"),
        gene_sets=input_file("gene_sets"),
        features=ready_made_features,
    output:
        patients="results/cohort/patients.tsv",
        slides="results/cohort/slides.tsv",
        attrition="results/cohort/attrition.tsv",
        covariates="results/cohort/covariates.tsv",
    log:
        "logs/cohort/cohort.log",
    benchmark:
        "benchmarks/cohort/cohort.tsv"
    priority: 1
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=attempts(4000),
        runtime=attempts(60),
    params:
        inputs=section("inputs"),
        config=section("cohort"),
        bad_slides=section("bad_slides"),
    shell:
        "python -m tta_pipeline cohort --out results/cohort --inputs {params.inputs:q} --config {params.config:q}"
        " --bad-slides {params.bad_slides:q} 2> {log}"
