from pathlib import Path

from conn.config.model import Inference
from conn.jobs import job
from conn.stages.correct import correct

with job(Path(snakemake.log[0])):
    correct(
        Path(),
        snakemake.wildcards.model,
        snakemake.params.tests,
        Inference.model_validate(snakemake.params.inference, strict=False),
        snakemake.params.lock,
    )
