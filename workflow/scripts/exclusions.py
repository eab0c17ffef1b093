from pathlib import Path

from conn.jobs import job
from conn.stages.collect import load_index
from conn.stages.exclusions import gather

with job(Path(snakemake.log[0])):
    gather(Path(), load_index(Path(snakemake.input.index)), snakemake.params.models)
