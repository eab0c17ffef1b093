from pathlib import Path

from conn.config.mediation import Mediation
from conn.config.model import Clinical, Inference, Rois
from conn.jobs import job
from conn.rois.registry import find
from conn.stages.mediation import Mediators, Resources, mediate

with job(Path(snakemake.log[0])):
    rois = Rois.model_validate(snakemake.params.rois, strict=False)
    asked = snakemake.params.mediators
    seeds = {label: [find(region, rois) for region in regions] for label, regions in asked["seeds"].items()}
    folder, fwhm_mm = Path(snakemake.params.folder), snakemake.params.fwhm_mm
    mediate(
        Path(),
        snakemake.wildcards.analysis,
        Mediation.model_validate(snakemake.params.settings, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        Inference.model_validate(snakemake.params.inference, strict=False),
        Mediators(asked["edges"], asked["networks"], seeds),
        Resources(folder, fwhm_mm, rois, snakemake.threads),
        seed=snakemake.params.seed,
        combine_runs=snakemake.params.combine_runs,
        status=snakemake.params.status,
    )
