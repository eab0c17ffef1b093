from pathlib import Path

from conn.config.model import Connectivity, Rois
from conn.index import run_from_record
from conn.jobs import job
from conn.stages.measure import measure

with job(Path(snakemake.log[0])):
    measure(
        Path(),
        run_from_record(snakemake.params.run),
        Rois.model_validate(snakemake.params.rois, strict=False),
        Connectivity.model_validate(snakemake.params.connectivity, strict=False),
        Path(snakemake.params.folder),
        snakemake.params.source,
        {name: Path(path) for name, path in snakemake.params.tissues.items()},
        snakemake.params.min_df,
    )
