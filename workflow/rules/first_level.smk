rule project:
    input:
        lambda wildcards: STUDY.inputs(wildcards.run),
    output:
        receipt=paths.project_receipt("{run}"),
        kept=touch(paths.projection_mark("{run}")),
    log:
        paths.LOGS / "project" / "{run}.log",
    resources:
        mem_mb=lambda wildcards, attempt: memory.FIRST_PROJECT_MB * attempt,
    params:
        run=lambda wildcards: STUDY.record(wildcards.run),
        seen=lambda wildcards: STUDY.seen(STUDY.inputs(wildcards.run)),
        settings=lambda wildcards: STUDY.run_settings(wildcards.run),
        sidecar_tr=lambda wildcards: STUDY.sidecar_tr(wildcards.run),
        denoise=plain(CONFIG.denoise),
        fwhm_mm=STUDY.map_fwhm,
        within_mask=STUDY.smooth_within_mask,
        code=calls("conn.stages.project", "project"),
    script:
        "../scripts/project.py"


rule measure:
    input:
        receipt=paths.project_receipt("{run}"),
        kept=paths.projection_mark("{run}"),
        masks=list(STUDY.masks.values()),
    output:
        paths.measure_receipt("{run}"),
    log:
        paths.LOGS / "measure" / "{run}.log",
    resources:
        mem_mb=lambda wildcards, attempt: memory.FIRST_MEASURE_MB * attempt,
    params:
        run=lambda wildcards: STUDY.record(wildcards.run),
        rois=plain(CONFIG.rois),
        connectivity=STUDY.measures,
        mask_folder=STUDY.mask_folder,
        seen=STUDY.seen(STUDY.masks.values()),
        source=lambda wildcards: STUDY.source(wildcards.run),
        code=calls("conn.stages.measure", "measure"),
    script:
        "../scripts/measure.py"


rule collect:
    input:
        index=INDEX,
        receipts=expand(paths.measure_receipt("{run}"), run=STUDY.runs),
    output:
        runs=paths.RUNS,
        collected=paths.COLLECTED,
        description="dataset_description.json",
    log:
        paths.LOGS / "collect.log",
    params:
        links=STUDY.links,
        code=calls("conn.stages.collect", "collect"),
    script:
        "../scripts/collect.py"
