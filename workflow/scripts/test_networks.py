from pathlib import Path

from conn.jobs import job
from conn.stages.test import test_networks

with job(Path(snakemake.log[0])):
    test_networks(
        Path(),
        snakemake.wildcards.model,
        snakemake.params.networks,
        measure=snakemake.params.measure,
        permutations=snakemake.params.permutations,
        seed=snakemake.params.seed,
        alpha=snakemake.params.alpha,
        min_share=snakemake.params.min_share,
    )
