rule settings:
    input:
        collected=paths.COLLECTED,
        models=expand(paths.correct_receipt("{model}"), model=CONFIG.models),
    output:
        paths.CONFIG,
    log:
        paths.LOGS / "settings.log",
    params:
        text=lambda wildcards: STUDY.resolved,
    script:
        "../scripts/settings.py"


rule lock:
    output:
        paths.LOCK,
    log:
        paths.LOGS / "lock.log",
    params:
        record=lambda wildcards: STUDY.lock_record,
        code=calls("conn.files", "lock"),
    script:
        "../scripts/lock.py"


rule report:
    input:
        config=paths.CONFIG,
        lock=paths.LOCK,
        runs=paths.RUNS,
        exclusions=paths.EXCLUSIONS,
        collected=paths.COLLECTED,
        cohort=paths.COHORT,
        rois=[paths.ROIS, paths.ROI_CHANGE, paths.ROI_PAIRS, paths.ROI_LABELS],
        models=expand(paths.correct_receipt("{model}"), model=CONFIG.models),
        companions=STUDY.companions,
        analyses=[paths.analysis(kind, name) for kind, name in STUDY.analyses],
        truth=lambda wildcards: STUDY.truth,
    output:
        report=paths.REPORT,
        methods=paths.METHODS,
    log:
        paths.LOGS / "report.log",
    params:
        code=calls("conn.report", "report"),
    script:
        "../scripts/report.py"
