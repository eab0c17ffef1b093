rule settings:
    output:
        paths.CONFIG,
    log:
        paths.LOGS / "settings.log",
    params:
        text=STUDY.resolved,
    script:
        "../scripts/settings.py"


rule report:
    input:
        config=paths.CONFIG,
        runs=paths.RUNS,
        exclusions=paths.EXCLUSIONS,
        collected=paths.COLLECTED,
        cohort=paths.COHORT,
        models=expand(paths.correct_receipt("{model}"), model=CONFIG.models),
        truth=STUDY.truth,
    output:
        report=paths.REPORT,
        methods=paths.METHODS,
    log:
        paths.LOGS / "report.log",
    params:
        code=code("conn.report"),
    script:
        "../scripts/report.py"
