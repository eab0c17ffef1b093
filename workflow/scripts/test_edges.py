from pathlib import Path

from conn.jobs import job
from conn.stages.test import test_edges

with job(Path(snakemake.log[0])):
    test_edges(
        Path(),
        snakemake.wildcards.model,
        snakemake.params.edges,
        measure=snakemake.params.measure,
        permutations=snakemake.params.permutations,
        seed=snakemake.params.seed,
        alpha=snakemake.params.alpha,
    )
