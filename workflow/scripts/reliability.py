from pathlib import Path

from conn.config.model import Clinical
from conn.config.reliability import Reliability
from conn.jobs import job
from conn.not_done import unless_refused
from conn.stages.reliability import COLUMNS, KIND, reliability

name = snakemake.wildcards.analysis

with job(Path(snakemake.log[0])), unless_refused(Path(), KIND, name, COLUMNS):
    reliability(
        Path(),
        name,
        Reliability.model_validate(snakemake.params.asked, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        snakemake.params.edges,
        snakemake.params.networks,
        combine_runs=snakemake.params.combine_runs,
        alpha=snakemake.params.alpha,
    )
