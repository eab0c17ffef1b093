from pathlib import Path

from conn.config.model import Clinical
from conn.jobs import job
from conn.stages.cohort import cohort

with job(Path(snakemake.log[0])):
    cohort(
        Path(),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        snakemake.params.bids_dirs,
        snakemake.params.time_points,
        snakemake.params.subjects,
    )
