from pathlib import Path

from conn.config.model import Clinical
from conn.jobs import job
from conn.stages.coupling import couple

with job(Path(snakemake.log[0])):
    couple(
        Path(),
        snakemake.wildcards.model,
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        snakemake.params.edges,
        alpha=snakemake.params.alpha,
        measure=snakemake.params.measure,
    )
