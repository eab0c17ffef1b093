rule cohort:
    input:
        runs=paths.RUNS,
        tables=lambda wildcards: STUDY.clinical_tables,
    output:
        table=paths.COHORT,
        notes=paths.COHORT_NOTES,
    log:
        paths.LOGS / "cohort.log",
    params:
        clinical=plain(CONFIG.clinical),
        bids_dirs=STUDY.bids_dirs,
        seen=lambda wildcards: STUDY.seen(STUDY.clinical_tables),
        time_points=STUDY.time_points,
        subjects=STUDY.subjects,
        code=calls("conn.stages.cohort", "cohort"),
    script:
        "../scripts/cohort.py"


rule design:
    input:
        cohort=paths.COHORT,
        runs=paths.RUNS,
    output:
        json=paths.design_json("{model}"),
        tsv=paths.design_tsv("{model}"),
    log:
        paths.LOGS / "design" / "{model}.log",
    params:
        model=lambda wildcards: plain(CONFIG.models[wildcards.model]),
        clinical=plain(CONFIG.clinical),
        inference=plain(CONFIG.inference),
        combine_runs=CONFIG.connectivity.combine_runs,
        code=calls("conn.stages.design", "design"),
    script:
        "../scripts/design.py"


rule test_seed:
    input:
        design=paths.design_json("{model}"),
        matrix=paths.design_tsv("{model}"),
        collected=paths.COLLECTED,
        images=lambda wildcards: STUDY.seed_images(wildcards.seed),
    output:
        paths.test_result("{model}", "seed-{seed}"),
    log:
        paths.LOGS / "test" / "{model}_seed-{seed}.log",
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
    params:
        permutations=CONFIG.inference.permutations,
        seed=CONFIG.seed,
        fwhm_mm=STUDY.map_fwhm,
        regions=lambda wildcards: STUDY.seed_regions(wildcards.seed),
        enhancement=plain(CONFIG.inference)["enhancement"],
        min_share=CONFIG.inference.min_share,
        rois=plain(CONFIG.rois),
        folder=STUDY.folder,
        seen=lambda wildcards: STUDY.seen(STUDY.seed_images(wildcards.seed)),
        code=calls("conn.stages.test", "test_seed"),
    script:
        "../scripts/test_seed.py"


rule test_factor:
    input:
        design=paths.design_json("{model}"),
        matrix=paths.design_tsv("{model}"),
        collected=paths.COLLECTED,
        images=lambda wildcards: STUDY.factor_images(wildcards.model, wildcards.factor),
    output:
        paths.test_result("{model}", "factor-{factor}"),
    log:
        paths.LOGS / "test" / "{model}_factor-{factor}.log",
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
    params:
        permutations=CONFIG.inference.permutations,
        seed=CONFIG.seed,
        fwhm_mm=STUDY.map_fwhm,
        seeds=lambda wildcards: STUDY.factor(wildcards.model, wildcards.factor),
        enhancement=plain(CONFIG.inference)["enhancement"],
        rois=plain(CONFIG.rois),
        folder=STUDY.folder,
        seen=lambda wildcards: STUDY.seen(
            STUDY.factor_images(wildcards.model, wildcards.factor)
        ),
        code=calls("conn.stages.test", "test_factor"),
    script:
        "../scripts/test_factor.py"


rule test_edges:
    input:
        design=paths.design_json("{model}"),
        matrix=paths.design_tsv("{model}"),
        collected=paths.COLLECTED,
    output:
        paths.test_result("{model}", "edges"),
    log:
        paths.LOGS / "test" / "{model}_edges.log",
    params:
        edges=lambda wildcards: STUDY.edges(wildcards.model),
        measure=lambda wildcards: CONFIG.models[wildcards.model].edge_measure,
        permutations=CONFIG.inference.permutations,
        seed=CONFIG.seed,
        alpha=CONFIG.inference.alpha,
        min_share=CONFIG.inference.min_share,
        enhancement=plain(CONFIG.inference)["edge_enhancement"],
        code=calls("conn.stages.test", "test_edges"),
    script:
        "../scripts/test_edges.py"


rule test_networks:
    input:
        design=paths.design_json("{model}"),
        matrix=paths.design_tsv("{model}"),
        collected=paths.COLLECTED,
    output:
        paths.test_result("{model}", "networks"),
    log:
        paths.LOGS / "test" / "{model}_networks.log",
    params:
        networks=lambda wildcards: STUDY.networks(wildcards.model),
        measure=lambda wildcards: CONFIG.models[wildcards.model].edge_measure,
        permutations=CONFIG.inference.permutations,
        seed=CONFIG.seed,
        alpha=CONFIG.inference.alpha,
        min_share=CONFIG.inference.min_share,
        code=calls("conn.stages.test", "test_networks"),
    script:
        "../scripts/test_networks.py"


rule correct:
    input:
        design=paths.design_json("{model}"),
        matrix=paths.design_tsv("{model}"),
        tests=lambda wildcards: [
            paths.test_result(wildcards.model, what)
            for what in STUDY.tests(wildcards.model)
        ],
    output:
        paths.correct_receipt("{model}"),
    log:
        paths.LOGS / "correct" / "{model}.log",
    params:
        tests=lambda wildcards: STUDY.tests(wildcards.model),
        inference=plain(CONFIG.inference),
        lock=lambda wildcards: STUDY.table_state(wildcards.model),
        code=calls("conn.stages.correct", "correct"),
    script:
        "../scripts/correct.py"


rule exclusions:
    input:
        index=INDEX,
        receipts=expand(paths.measure_receipt("{run}"), run=STUDY.runs),
        notes=paths.COHORT_NOTES,
        cohort=paths.COHORT,
        runs=paths.RUNS,
        designs=expand(paths.design_json("{model}"), model=CONFIG.models),
    output:
        paths.EXCLUSIONS,
    log:
        paths.LOGS / "exclusions.log",
    params:
        models=list(CONFIG.models),
        analyses=STUDY.analyses_record,
        code=calls("conn.stages.exclusions", "exclusions"),
    script:
        "../scripts/exclusions.py"


rule project_all:
    input:
        upto("project"),


rule measure_all:
    input:
        upto("measure"),


rule collect_all:
    input:
        upto("collect"),


rule cohort_all:
    input:
        upto("cohort"),


rule design_all:
    input:
        upto("design"),


rule test_all:
    input:
        upto("test"),


rule correct_all:
    input:
        upto("correct"),
