from pathlib import Path

from conn.config.mediation import Mediation
from conn.config.model import Clinical, Inference, Rois
from conn.jobs import job
from conn.not_done import unless_refused
from conn.rois.registry import find
from conn.stages.mediation import KIND, Mediators, Resources, mediate

name, status = snakemake.wildcards.analysis, snakemake.params.status

with job(Path(snakemake.log[0])), unless_refused(Path(), KIND, name, status=status):
    rois = Rois.model_validate(snakemake.params.rois, strict=False)
    asked = snakemake.params.mediators
    seeds = {label: [find(region, rois) for region in regions] for label, regions in asked["seeds"].items()}
    folder, fwhm_mm = Path(snakemake.params.folder), snakemake.params.fwhm_mm
    mediate(
        Path(),
        name,
        Mediation.model_validate(snakemake.params.settings, strict=False),
        Clinical.model_validate(snakemake.params.clinical, strict=False),
        Inference.model_validate(snakemake.params.inference, strict=False),
        Mediators(asked["edges"], asked["networks"], seeds),
        Resources(folder, fwhm_mm, rois, snakemake.threads),
        seed=snakemake.params.seed,
        combine_runs=snakemake.params.combine_runs,
        status=status,
    )
