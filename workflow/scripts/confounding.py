from pathlib import Path

from conn.jobs import job
from conn.stages.confounding import confounding

with job(Path(snakemake.log[0])):
    confounding(
        Path(),
        snakemake.wildcards.model,
        snakemake.params.edges,
        snakemake.params.networks,
        permutations=snakemake.params.permutations,
        seed=snakemake.params.seed,
        alpha=snakemake.params.alpha,
        measure=snakemake.params.measure,
    )
