from pathlib import Path

from conn.files import write_json
from conn.jobs import job

with job(Path(snakemake.log[0])):
    write_json(Path(snakemake.output[0]), snakemake.params.record)
