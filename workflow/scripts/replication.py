from pathlib import Path

from pydantic import TypeAdapter

from conn.config.model import Clinical, Inference, Model
from conn.config.replication import Replication
from conn.jobs import job
from conn.stages.replication import Wanted, replicate

with job(Path(snakemake.log[0])):
    replicate(
        Path(),
        snakemake.wildcards.analysis,
        Replication.model_validate(snakemake.params.asked, strict=False),
        TypeAdapter(Model).validate_python(snakemake.params.model, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        Inference.model_validate(snakemake.params.inference, strict=False),
        Wanted(**snakemake.params.wanted),
        seed=snakemake.params.seed,
        order=snakemake.params.order,
        combine_runs=snakemake.params.combine_runs,
        status=snakemake.params.status,
    )
