# The workflow lies in workflow/; this file lets `snakemake` find it from the root.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
