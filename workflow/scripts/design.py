from pathlib import Path

from pydantic import TypeAdapter

from conn.config.model import Clinical, Inference, Model
from conn.jobs import job
from conn.stages.design import design

with job(Path(snakemake.log[0])):
    design(
        Path(),
        snakemake.wildcards.model,
        TypeAdapter(Model).validate_python(snakemake.params.model, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        Inference.model_validate(snakemake.params.inference, strict=False),
        snakemake.params.combine_runs,
    )
