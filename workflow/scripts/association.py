from pathlib import Path

from conn.config.association import Association
from conn.config.model import Clinical
from conn.jobs import job
from conn.stages.association import association

with job(Path(snakemake.log[0])):
    association(
        Path(),
        snakemake.wildcards.analysis,
        Association.model_validate(snakemake.params.asked, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        snakemake.params.edges,
        snakemake.params.networks,
        combine_runs=snakemake.params.combine_runs,
        permutations=snakemake.params.permutations,
        seed=snakemake.params.seed,
        alpha=snakemake.params.alpha,
        robust_slopes=snakemake.params.robust_slopes,
        status=snakemake.params.status,
    )
