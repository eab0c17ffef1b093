from pathlib import Path

from conn.config.model import EdgeEnhancement
from conn.jobs import job
from conn.stages.test import test_edges

with job(Path(snakemake.log[0])):
    asked = snakemake.params.enhancement
    test_edges(
        Path(),
        snakemake.wildcards.model,
        snakemake.params.edges,
        measure=snakemake.params.measure,
        permutations=snakemake.params.permutations,
        seed=snakemake.params.seed,
        alpha=snakemake.params.alpha,
        min_share=snakemake.params.min_share,
        enhancement=None if asked is None else EdgeEnhancement.model_validate(asked, strict=False),
    )
