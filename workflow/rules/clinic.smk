rule confounding:
    input:
        design=paths.design_json("{model}"),
        matrix=paths.design_tsv("{model}"),
        corrected=paths.correct_receipt("{model}"),
        collected=paths.COLLECTED,
        runs=paths.RUNS,
    output:
        confounding=paths.confounding("{model}"),
        adjustment=paths.adjustment("{model}"),
    log:
        paths.LOGS / "confounding" / "{model}.log",
    params:
        edges=lambda wildcards: STUDY.edges(wildcards.model),
        networks=lambda wildcards: STUDY.networks(wildcards.model),
        measure=lambda wildcards: CONFIG.models[wildcards.model].edge_measure,
        permutations=CONFIG.inference.permutations,
        seed=CONFIG.seed,
        alpha=CONFIG.inference.alpha,
        code=calls("conn.stages.confounding", "confounding"),
    script:
        "../scripts/confounding.py"


rule coupling:
    input:
        design=paths.design_json("{model}"),
        matrix=paths.design_tsv("{model}"),
        corrected=paths.correct_receipt("{model}"),
        collected=paths.COLLECTED,
        cohort=paths.COHORT,
    output:
        paths.coupling("{model}"),
    log:
        paths.LOGS / "coupling" / "{model}.log",
    params:
        clinical=plain(CONFIG.clinical),
        edges=lambda wildcards: STUDY.edges(wildcards.model),
        measure=lambda wildcards: CONFIG.models[wildcards.model].edge_measure,
        alpha=CONFIG.inference.alpha,
        code=calls("conn.stages.coupling", "coupling"),
    script:
        "../scripts/coupling.py"


rule reliability:
    input:
        cohort=paths.COHORT,
        runs=paths.RUNS,
        collected=paths.COLLECTED,
    output:
        json=paths.analysis("reliability", "{analysis}"),
        tsv=paths.analysis("reliability", "{analysis}", ".tsv"),
    log:
        paths.LOGS / "reliability" / "{analysis}.log",
    params:
        asked=lambda wildcards: plain(CONFIG.reliability[wildcards.analysis]),
        clinical=plain(CONFIG.clinical),
        edges=lambda wildcards: STUDY.pairs(
            CONFIG.reliability[wildcards.analysis].edges
        ),
        networks=lambda wildcards: STUDY.spelled(
            CONFIG.reliability[wildcards.analysis].declared_networks
        ),
        combine_runs=CONFIG.connectivity.combine_runs,
        alpha=CONFIG.inference.alpha,
        code=calls("conn.stages.reliability", "reliability"),
    script:
        "../scripts/reliability.py"


rule association:
    input:
        cohort=paths.COHORT,
        runs=paths.RUNS,
        collected=paths.COLLECTED,
        reliability=lambda wildcards: STUDY.reliability_of(wildcards.analysis),
    output:
        json=paths.analysis("association", "{analysis}"),
        tsv=paths.analysis("association", "{analysis}", ".tsv"),
    log:
        paths.LOGS / "association" / "{analysis}.log",
    params:
        asked=lambda wildcards: plain(CONFIG.associations[wildcards.analysis]),
        clinical=plain(CONFIG.clinical),
        edges=lambda wildcards: STUDY.pairs(
            CONFIG.associations[wildcards.analysis].edges
        ),
        networks=lambda wildcards: STUDY.spelled(
            CONFIG.associations[wildcards.analysis].declared_networks
        ),
        combine_runs=CONFIG.connectivity.combine_runs,
        permutations=CONFIG.inference.permutations,
        seed=CONFIG.seed,
        alpha=CONFIG.inference.alpha,
        robust_slopes=CONFIG.inference.robust_slopes,
        status=lambda wildcards: STUDY.analysis_status(
            "associations", wildcards.analysis
        ),
        code=calls("conn.stages.association", "association"),
    script:
        "../scripts/association.py"


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
        status=lambda wildcards: STUDY.analysis_status("mediation", wildcards.analysis),
        code=calls("conn.stages.mediation", "mediation"),
    script:
        "../scripts/mediation.py"


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
        status=lambda wildcards: STUDY.analysis_status("prediction", wildcards.analysis),
        code=calls("conn.stages.prediction", "prediction"),
    script:
        "../scripts/prediction.py"


rule replication:
    input:
        cohort=paths.COHORT,
        runs=paths.RUNS,
        collected=paths.COLLECTED,
    output:
        trials=paths.analysis("replication", "{analysis}_trials", ".tsv"),
        table=paths.analysis("replication", "{analysis}", ".tsv"),
        json=paths.analysis("replication", "{analysis}"),
    log:
        paths.LOGS / "replication" / "{analysis}.log",
    params:
        asked=lambda wildcards: plain(CONFIG.replication[wildcards.analysis]),
        model=lambda wildcards: plain(
            CONFIG.models[CONFIG.replication[wildcards.analysis].model]
        ),
        wanted=lambda wildcards: STUDY.replicated(wildcards.analysis),
        clinical=plain(CONFIG.clinical),
        inference=plain(CONFIG.inference),
        order=list(CONFIG.datasets),
        combine_runs=CONFIG.connectivity.combine_runs,
        seed=CONFIG.seed,
        status=lambda wildcards: STUDY.analysis_status(
            "replication", wildcards.analysis
        ),
        code=calls("conn.stages.replication", "replication"),
    script:
        "../scripts/replication.py"


rule clinic_all:
    input:
        upto("clinic"),
