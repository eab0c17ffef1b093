from pathlib import Path

from pydantic import TypeAdapter

from conn.config.model import Clinical, Inference, Model
from conn.config.replication import Replication
from conn.jobs import job
from conn.not_done import unless_refused
from conn.stages.replication import KIND, Wanted, replicate
from conn.stages.replication_table import NAMES

name, status = snakemake.wildcards.analysis, snakemake.params.status
columns, tables = (*NAMES, "status"), ("_trials.tsv",)

with (
    job(Path(snakemake.log[0])),
    unless_refused(Path(), KIND, name, columns, status=status, more_tables=tables),
):
    replicate(
        Path(),
        name,
        Replication.model_validate(snakemake.params.asked, strict=False),
        TypeAdapter(Model).validate_python(snakemake.params.model, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        Inference.model_validate(snakemake.params.inference, strict=False),
        Wanted(**snakemake.params.wanted),
        seed=snakemake.params.seed,
        order=snakemake.params.order,
        combine_runs=snakemake.params.combine_runs,
        status=status,
    )
