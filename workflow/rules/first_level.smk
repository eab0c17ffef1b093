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
        images=STUDY.roi_images,
        tissues=lambda wildcards: list(STUDY.tissues(wildcards.run).values()),
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
        folder=STUDY.folder,
        tissues=lambda wildcards: STUDY.tissues(wildcards.run),
        min_df=CONFIG.denoise.min_df,
        seen=lambda wildcards: STUDY.seen(
            [*STUDY.roi_images, *STUDY.tissues(wildcards.run).values()]
        ),
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


rule audit:
    input:
        runs=paths.RUNS,
        collected=paths.COLLECTED,
        images=STUDY.roi_images,
        reference=STUDY.reference_files,
    output:
        rois=paths.ROIS,
        change=paths.ROI_CHANGE,
        pairs=paths.ROI_PAIRS,
        labels=paths.ROI_LABELS,
    log:
        paths.LOGS / "audit.log",
    params:
        rois=plain(CONFIG.rois),
        folder=STUDY.folder,
        time_points=STUDY.time_points,
        seen=STUDY.seen([*STUDY.roi_images, *STUDY.reference_files]),
        code=calls("conn.stages.audit", "audit"),
    script:
        "../scripts/audit.py"
