from pathlib import Path

from conn.config.association import Association
from conn.config.model import Clinical
from conn.jobs import job
from conn.not_done import unless_refused
from conn.stages.association import KIND, association
from conn.stages.association_table import COLUMNS

name, status = snakemake.wildcards.analysis, snakemake.params.status

with job(Path(snakemake.log[0])), unless_refused(Path(), KIND, name, (*COLUMNS, "status"), status=status):
    association(
        Path(),
        name,
        Association.model_validate(snakemake.params.asked, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        snakemake.params.edges,
        snakemake.params.networks,
        combine_runs=snakemake.params.combine_runs,
        permutations=snakemake.params.permutations,
        seed=snakemake.params.seed,
        alpha=snakemake.params.alpha,
        robust_slopes=snakemake.params.robust_slopes,
        status=status,
    )
