from pathlib import Path

from conn.config.model import Denoise
from conn.index import run_from_record
from conn.jobs import job
from conn.stages.project import RunSettings, project

with job(Path(snakemake.log[0])):
    settings = dict(snakemake.params.settings)
    project(
        Path(),
        run_from_record(snakemake.params.run),
        Denoise.model_validate(snakemake.params.denoise, strict=False),
        RunSettings(**{**settings, "roots": tuple(map(Path, settings["roots"]))}),
        snakemake.params.fwhm_mm,
        within_mask=snakemake.params.within_mask,
    )
