from pathlib import Path

from conn.jobs import job
from conn.stages.collect import collect, load_index

with job(Path(snakemake.log[0])):
    collect(Path(), load_index(Path(snakemake.input.index)), snakemake.params.links)
