rule tiles:
    input:
        slides=ancient("results/cohort/to_encode.tsv"),
        images=images_of_batch,
    output:
        manifest="results/tiles/batches/{batch}.tsv",
    log:
        "logs/tiles/{batch}.log",
    benchmark:
        "benchmarks/tiles/{batch}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=attempts(4000),
        runtime=attempts(120),
    params:
        config=section("tiles"),
        rows=rows_of_batch,
    shell:
        "python -m tta_pipeline tiles --slides {input.slides} --batch {wildcards.batch} --out results/tiles --manifest {output.manifest}"
        ' --config {params.config:q} --bad-slides "$TTA_BAD_SLIDES" 2> {log}'
