rule pathways:
    input:
        patients="results/cohort/patients.tsv",
        expression=input_file("expression"),
        samples=optional_file("inputs", "expression_samples"),
        gene_names=optional_file("inputs", "gene_names"),
        gene_sets=input_file("gene_sets"),
    output:
        pathways="results/pathways.h5",
        coverage="results/pathways_coverage.tsv",
    log:
        "logs/pathways/pathways.log",
    benchmark:
        "benchmarks/pathways/pathways.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(60),
    params:
        inputs=section("inputs"),
        config=section("pathways"),
    shell:
        "python -m tta_pipeline pathways --patients {input.patients} --out {output.pathways} --coverage {output.coverage}"
        " --inputs {params.inputs:q} --config {params.config:q} 2> {log}"
