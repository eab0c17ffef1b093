from pathlib import Path

from conn.config.model import Clinical
from conn.config.prediction import Prediction
from conn.jobs import job
from conn.stages.prediction import prediction

with job(Path(snakemake.log[0])):
    prediction(
        Path(),
        snakemake.wildcards.analysis,
        Prediction.model_validate(snakemake.params.settings, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        snakemake.params.combine_runs,
        snakemake.params.edges,
        seed=snakemake.params.seed,
        alpha=snakemake.params.alpha,
        workers=snakemake.threads,
        status=snakemake.params.status,
    )
