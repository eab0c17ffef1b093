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


rule clinic_all:
    input:
        upto("clinic"),
