# The workflow lives in workflow/; this file lets `snakemake` start it from here.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
