from pathlib import Path

from conn.config.model import Clinical
from conn.config.prediction import Prediction
from conn.jobs import job
from conn.not_done import unless_refused
from conn.stages.prediction import COLUMNS, KIND, prediction

name, status = snakemake.wildcards.analysis, snakemake.params.status

with (
    job(Path(snakemake.log[0])),
    unless_refused(Path(), KIND, name, COLUMNS, status=status, more=["_model.json"]),
):
    prediction(
        Path(),
        name,
        Prediction.model_validate(snakemake.params.settings, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        snakemake.params.combine_runs,
        snakemake.params.edges,
        seed=snakemake.params.seed,
        alpha=snakemake.params.alpha,
        workers=snakemake.threads,
        status=status,
    )
