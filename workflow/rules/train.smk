rule train:
    input:
        patients="results/cohort/patients.tsv",
        slides="results/cohort/slides.tsv",
        manifests=feature_manifests,
        pathways="results/pathways.h5",
        splits="results/splits.tsv",
        covariates=covariates_of,
        inner_splits=inner_splits_of,
        risks=inner_risks_of,
    output:
        trained="results/train/{model}/r{repeat}_f{fold}_s{seed}.h5",
    log:
        "logs/train/{model}/r{repeat}_f{fold}_s{seed}.log",
    benchmark:
        "benchmarks/train/{model}/r{repeat}_f{fold}_s{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=attempts(16000),
        runtime=attempts(480),
    params:
        model=lambda wildcards: json.dumps(config["models"][wildcards.model], sort_keys=True),
        config=training_of,
        bad_slides=section("bad_slides"),
    shell:
        "python -m tta_pipeline train --patients {input.patients} --slides {input.slides} --manifests {input.manifests}"
        " --pathways {input.pathways} --splits {input.splits} --name {wildcards.model} --repeat {wildcards.repeat}"
        " --fold {wildcards.fold} --seed {wildcards.seed} --out {output.trained} --model {params.model:q}"
        " $([ -z '{input.covariates}' ] || echo --covariates '{input.covariates}')"
        " $([ -z '{input.inner_splits}' ] || echo --inner-splits '{input.inner_splits}' --risks {input.risks})"
        " --config {params.config:q} --bad-slides {params.bad_slides:q} 2> {log}"


# Inside of a training part, for a model that reads risks: its own fold is one of results/inner_splits.tsv.
use rule train as inner_train with:
    input:
        patients="results/cohort/patients.tsv",
        slides="results/cohort/slides.tsv",
        manifests=feature_manifests,
        pathways="results/pathways.h5",
        splits="results/inner_splits.tsv",
        covariates=covariates_of,
        inner_splits=[],
        risks=[],
    output:
        trained="results/inner_train/{model}/r{repeat}_f{fold}_s{seed}.h5",
    log:
        "logs/inner_train/{model}/r{repeat}_f{fold}_s{seed}.log",
    benchmark:
        "benchmarks/inner_train/{model}/r{repeat}_f{fold}_s{seed}.tsv"
