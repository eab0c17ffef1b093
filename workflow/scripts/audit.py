from pathlib import Path

from conn.config.model import Rois
from conn.jobs import job
from conn.stages.audit import audit_regions

with job(Path(snakemake.log[0])):
    audit_regions(
        Path(),
        Rois.model_validate(snakemake.params.rois, strict=False),
        Path(snakemake.params.folder),
        snakemake.params.time_points,
    )
