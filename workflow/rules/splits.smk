rule splits:
    input:
        patients="results/cohort/patients.tsv",
        file=optional_file("splits", "file"),
    output:
        splits="results/splits.tsv",
        parts="results/splits_parts.tsv",
        inner=INNER_SPLITS,
    log:
        "logs/splits/splits.log",
    benchmark:
        "benchmarks/splits/splits.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=attempts(2000),
        runtime=attempts(30),
    params:
        config=section("splits", without=[] if INNER_SPLITS else ["inner_folds"]),
    shell:
        "python -m tta_pipeline splits --patients {input.patients} --out {output.splits} --parts {output.parts}"
        " $([ -z '{output.inner}' ] || echo --inner '{output.inner}') --config {params.config:q} 2> {log}"
