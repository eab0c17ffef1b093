from pathlib import Path

from conn.jobs import job
from conn.stages.collect import load_index
from conn.stages.exclusions import gather
from conn.stages.left_out import from_record

with job(Path(snakemake.log[0])):
    gather(
        Path(),
        load_index(Path(snakemake.input.index)),
        snakemake.params.models,
        from_record(snakemake.params.analyses),
    )
