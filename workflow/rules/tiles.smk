rule tiles:
    input:
        slides=ancient(input_file("slides")),
        masks=masks_of_batch,
    output:
        manifest="results/tiles/batches/{batch}.tsv",
        quality="results/tiles/batches/{batch}.quality.tsv",
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
        again=again("tiles"),
    params:
        config=section("tiles"),
        slide_ids=slides_of_batch,
        mpp=mpp_of_batch,
        images=images_of_batch,
    shell:
        "python -m tta_pipeline tiles --slides {input.slides} --slide-ids {params.slide_ids:q} --out results/tiles --manifest {output.manifest}"
        ' --quality {output.quality} --config {params.config:q} --bad-slides "$TTA_BAD_SLIDES" --again {resources.again} 2> {log}'
