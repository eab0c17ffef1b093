rule clinic_all:
    input:
        upto("clinic"),


rule prediction:
    input:
        cohort=paths.COHORT,
        runs=paths.RUNS,
        collected=paths.COLLECTED,
    output:
        table=paths.analysis("prediction", "{analysis}", ".tsv"),
        model=paths.analysis("prediction", "{analysis}_model"),
        json=paths.analysis("prediction", "{analysis}"),
    log:
        paths.LOGS / "prediction" / "{analysis}.log",
    threads: 1
    params:
        settings=lambda wildcards: plain(CONFIG.prediction[wildcards.analysis]),
        clinical=plain(CONFIG.clinical),
        combine_runs=CONFIG.connectivity.combine_runs,
        edges=lambda wildcards: STUDY.predicting(wildcards.analysis),
        seed=CONFIG.seed,
        alpha=CONFIG.inference.alpha,
        code=calls("conn.stages.prediction", "prediction"),
    script:
        "../scripts/prediction.py"
