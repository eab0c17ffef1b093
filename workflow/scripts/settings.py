from pathlib import Path

from conn.files import write_text
from conn.jobs import job

with job(Path(snakemake.log[0])):
    write_text(Path(snakemake.output[0]), snakemake.params.text)
