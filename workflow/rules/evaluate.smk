rule evaluate:
    input:
        trained="results/train/{model}/r{repeat}_f{fold}_s{seed}.h5",
        patients="results/cohort/patients.tsv",
        slides="results/cohort/slides.tsv",
        manifests=feature_manifests,
        pathways="results/pathways.h5",
        splits="results/splits.tsv",
        covariates=covariates_of,
        risks=risks_of_tested,
    output:
        evaluated="results/evaluate/{model}/r{repeat}_f{fold}_s{seed}.h5",
    log:
        "logs/evaluate/{model}/r{repeat}_f{fold}_s{seed}.log",
    benchmark:
        "benchmarks/evaluate/{model}/r{repeat}_f{fold}_s{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=attempts(16000),
        runtime=attempts(120),
    params:
        config=section("evaluate"),
        bad_slides=section("bad_slides"),
    shell:
        "python -m tta_pipeline evaluate --trained {input.trained} --patients {input.patients} --slides {input.slides}"
        " --manifests {input.manifests} --pathways {input.pathways} --splits {input.splits} --out {output.evaluated}"
        " $([ -z '{input.covariates}' ] || echo --covariates '{input.covariates}')"
        " $([ -z '{input.risks}' ] || echo --risks {input.risks})"
        " --config {params.config:q} --bad-slides {params.bad_slides:q} 2> {log}"


use rule evaluate as inner_evaluate with:
    input:
        trained="results/inner_train/{model}/r{repeat}_f{fold}_s{seed}.h5",
        patients="results/cohort/patients.tsv",
        slides="results/cohort/slides.tsv",
        manifests=feature_manifests,
        pathways="results/pathways.h5",
        splits="results/inner_splits.tsv",
        covariates=covariates_of,
        risks=[],
    output:
        evaluated="results/inner_evaluate/{model}/r{repeat}_f{fold}_s{seed}.h5",
    log:
        "logs/inner_evaluate/{model}/r{repeat}_f{fold}_s{seed}.log",
    benchmark:
        "benchmarks/inner_evaluate/{model}/r{repeat}_f{fold}_s{seed}.tsv"
