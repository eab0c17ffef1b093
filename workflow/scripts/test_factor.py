from pathlib import Path

from conn.config.model import Enhancement, Rois
from conn.jobs import job
from conn.rois.registry import find
from conn.stages.test import test_factor

with job(Path(snakemake.log[0])):
    rois = Rois.model_validate(snakemake.params.rois, strict=False)
    asked = snakemake.params.enhancement
    test_factor(
        Path(),
        snakemake.wildcards.model,
        snakemake.wildcards.factor,
        {
            label: [find(region, rois) for region in regions]
            for label, regions in snakemake.params.seeds.items()
        },
        fwhm_mm=snakemake.params.fwhm_mm,
        folder=Path(snakemake.params.folder),
        permutations=snakemake.params.permutations,
        seed=snakemake.params.seed,
        rois=rois,
        enhancement=None if asked is None else Enhancement.model_validate(asked, strict=False),
        threads=snakemake.threads,
    )
