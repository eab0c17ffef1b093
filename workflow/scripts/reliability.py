from pathlib import Path

from conn.config.model import Clinical
from conn.config.reliability import Reliability
from conn.jobs import job
from conn.stages.reliability import reliability

with job(Path(snakemake.log[0])):
    reliability(
        Path(),
        snakemake.wildcards.analysis,
        Reliability.model_validate(snakemake.params.asked, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        snakemake.params.edges,
        snakemake.params.networks,
        combine_runs=snakemake.params.combine_runs,
        alpha=snakemake.params.alpha,
    )
