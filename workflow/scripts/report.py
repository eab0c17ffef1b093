from pathlib import Path

from conn.config import load
from conn.jobs import job
from conn.report import build_report

with job(Path(snakemake.log[0])):
    build_report(Path(), load(Path(snakemake.input.config)))
