rule mediation:
    input:
        cohort=paths.COHORT,
        runs=paths.RUNS,
        collected=paths.COLLECTED,
        images=lambda wildcards: STUDY.mediator_images(wildcards.analysis),
    output:
        paths.analysis("mediation", "{analysis}"),
    log:
        paths.LOGS / "mediation" / "{analysis}.log",
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
    params:
        settings=lambda wildcards: plain(CONFIG.mediation[wildcards.analysis]),
        mediators=lambda wildcards: STUDY.mediators(wildcards.analysis),
        clinical=plain(CONFIG.clinical),
        inference=plain(CONFIG.inference),
        combine_runs=CONFIG.connectivity.combine_runs,
        seed=CONFIG.seed,
        fwhm_mm=STUDY.map_fwhm,
        rois=plain(CONFIG.rois),
        folder=STUDY.folder,
        seen=lambda wildcards: STUDY.seen(STUDY.mediator_images(wildcards.analysis)),
        code=calls("conn.stages.mediation", "mediation"),
    script:
        "../scripts/mediation.py"


rule clinic_all:
    input:
        upto("clinic"),
