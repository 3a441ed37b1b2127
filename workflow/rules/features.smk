rule features:
    input:
        slides=ancient(input_file("slides")),
        tiles="results/tiles/batches/{batch}.tsv",
        weights=optional_file("features", "weights"),
        stain_target=optional_file("features", "stain_target"),
    output:
        manifest="results/features/batches/{batch}.tsv",
    log:
        "logs/features/{batch}.log",
    benchmark:
        "benchmarks/features/{batch}.tsv"
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        mem_mb=attempts(16000),
        runtime=attempts(480),
        again=again("tiles", "features"),
    params:
        config=section("features", without=["batch_size", "decode_threads"]),
        slide_ids=slides_of_batch,
        images=images_of_batch,
    shell:
        "python -m tta_pipeline features --slides {input.slides} --slide-ids {params.slide_ids:q} --tiles {input.tiles} --out results/features"
        " --manifest {output.manifest} --config {params.config:q}"
        ' --config.batch_size "$TTA_BATCH_SIZE" --config.decode_threads "$TTA_DECODE_THREADS" --bad-slides "$TTA_BAD_SLIDES" --again {resources.again} 2> {log}'
