"""What the report says and shows of replications, and two simulated trials from scans to the page."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.patches import Polygon

from conn import paths
from conn.analysis_check import NOT_DONE, analyses
from conn.config.load import to_yaml
from conn.config.model import Inference
from conn.config.replication import Replication
from conn.errors import ConfigError
from conn.files import read_json
from conn.report import replication_plots, replication_section, replication_words
from conn.report.context import Context
from conn.report.people import make_names
from conn.simulate import DEMO_ROIS, CohortSpec, PlantedEdge, simulate_cohort
from conn.stages.replication import Wanted, replicate
from conn.study import Study, open_study
from conn.tables import read_tsv
from line import walk
from replicated_trials import CLINICAL, Trial, model, write

THREE = {
    "first": Trial(30, effect=0.4, women_only=True),
    "second": Trial(44, effect=0.4, lost=(2,)),
    "third": Trial(26, effect=0.3),
}
NETWORKS = {"declared": [["PAG", "sgACCL"], ["PAG", "insulaL", -1]]}


def told(folder: Path, trials: dict[str, Trial], **options):
    """The block of a replication, its result, and the context."""
    write(folder, trials)
    asked = Replication(model="arms", contrasts=("change",), **options)
    settings = model(covariates=("sex",))
    wanted = Wanted("all", NETWORKS)
    replicate(
        folder,
        "both",
        asked,
        settings,
        CLINICAL,
        Inference(permutations=199),
        wanted,
        seed=1,
        order=list(trials),
    )
    config = SimpleNamespace(
        replication={"both": asked}, models={"arms": settings}, inference=SimpleNamespace(alpha=0.05)
    )
    people = sorted({(d, s) for d, s in read_tsv(folder / paths.COHORT)[["dataset", "subject"]].to_numpy()})
    names = make_names(people, anonymise=True, seed=0)
    outputs = SimpleNamespace(out=folder, config=config)
    context = Context(folder / "figures", outputs, names, None)
    (block,) = replication_section.blocks(context)
    return block, context


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return told(tmp_path_factory.mktemp("two"), {name: THREE[name] for name in ("first", "second")})


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return told(tmp_path_factory.mktemp("three"), THREE | {"fourth": Trial(9, arms=("drug",))})


def test_two_trials_stand_side_by_side_and_no_random_effects_are_spoken_of(two):
    block, _ = two
    text = " ".join(block.sentences)
    assert "first (n = 30) and second (n = 43)" in text
    assert "change, first: sex is the same in everybody there, and so not in its design." in text
    assert replication_section.TWO in text
    assert "Random effects:" not in text
    assert re.search(r"the common effect is significant \(p_fwe ≤ 0\.05\) in [1-6]", text)
    assert "in at least two trials can be claimed of" in text
    titles = [column.title for column in block.tables[0].columns]
    assert titles == ["Pair", "first", "second", "Same sign", "Common effect", "p_fwe", "Replicability p"]
    assert "Random effects" not in [column.title for column in block.tables[1].columns]


def test_three_trials_have_random_effects_and_a_trial_without_design_its_reason(three):
    block, _ = three
    text = " ".join(block.sentences)
    assert "Random effects:" in text
    assert "the effect of a further trial is to be expected within" in text
    assert replication_section.TWO not in text
    assert "change, fourth is left out, because" in text
    assert "Random effects" in [column.title for column in block.tables[1].columns]
    assert "in three data sets?" in block.title


def test_every_trial_and_who_was_lost_can_be_unfolded(two):
    block, context = two
    tables = dict(block.folded)
    assert {row.cells[1] for row in tables["Every trial, change"].rows} == {"first", "second"}
    (lost,) = tables["People left out"].rows
    assert lost.cells[0] == context.names.person("second", "103")
    assert "103" not in lost.cells[0]
    assert lost.cells[1:] == ("second", "change", "no included run at post")


def test_methods_and_limits_name_what_ran(two, three):
    for (_, context), random in ((two, False), (three, True)):
        text = " ".join(replication_words.methods(context.outputs))
        assert "compiled and fitted within each data set by itself" in text
        assert "199 random combinations of rearrangements within trials" in text
        assert ("Paule and Mandel" in text) == random
        assert list(replication_words.limits(context.outputs))
    nothing = SimpleNamespace(out=Path(), config=SimpleNamespace(replication={}))
    assert list(replication_words.methods(nothing)) == list(replication_words.limits(nothing)) == []


def test_a_forest_has_a_square_for_each_trial_and_a_diamond_for_each_mean():
    trials = [
        replication_plots.Line(f"trial {i}", 20 + i, 0.1 * i, 0.1 * i - 0.2, 0.1 * i + 0.2, 0.5)
        for i in (1, 2)
    ]
    mean = replication_plots.Line("common effect", 43, 0.15, 0.02, 0.28)
    groups = [
        replication_plots.Group("one", (*trials, mean), found=True),
        replication_plots.Group("two", (*trials, mean)),
    ]
    (axes,) = replication_plots.forest(groups, "Difference in Fisher z", "95 %").axes
    diamonds = [patch for patch in axes.patches if isinstance(patch, Polygon)]
    assert [patch.get_facecolor() == (1.0, 1.0, 1.0, 1.0) for patch in diamonds] == [False, True]
    squares = [line for line in axes.lines if line.get_marker() == "s"]
    assert [float(np.asarray(line.get_xdata()).item()) for line in squares] == pytest.approx([0.1, 0.2] * 2)
    assert "Fisher z" in axes.get_xlabel()
    words = [text.get_text() for text in axes.texts]
    assert {"trial 1", "trial 2", "common effect", "0.150 (0.020 to 0.280)"} <= set(words)


# From scans to the page -----------------------------------------------------------------------------

EDGE = PlantedEdge(
    "insulaL", "precuneusL", 0.4, {"drug": -0.9, "placebo": -0.9}, person_sd=0.02, change_sd=0.02
)


LABELS = {"labels": {"pre": ["pre"], "post": ["post"]}}
SETTINGS = {
    "datasets": {name: {"bids_dir": name, "time_points": LABELS} for name in ("first", "second")},
    "rois": {"use": ["insula", "precuneus", "vmPFC"]},
    "denoise": {"strategy": "simple", "low_pass": None},
    "connectivity": {"seeds": []},
    "models": {
        "change": {
            "design": "paired", "before": "pre", "after": "post", "sensitivity": "none",
            "edges": [["insulaL", "precuneusL"], ["insulaL", "vmPFC"]],
        }
    },
    "replication": {"both": {"model": "change"}},
    "inference": {"permutations": 999},
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Two simulated data sets with a strong change of one edge, in one configuration."""
    folder = tmp_path_factory.mktemp("trials")
    for seed, (name, n) in enumerate({"first": 4, "second": 5}.items(), start=1):
        spec = CohortSpec(
            tuple(sphere for sphere in DEMO_ROIS if sphere[0] in ("insulaL", "precuneusL", "vmPFC")),
            (EDGE,),
            n_subjects=n,
            volumes=90,
            voxel_mm=6.0,
            seed=seed,
            first_label=100 * seed + 1,
        )
        simulate_cohort(folder / name, spec, workers=1)
    path = folder / "study.yaml"
    path.write_text(to_yaml(SETTINGS))
    return walk(path)


@pytest.mark.truth
def test_two_simulated_trials_go_from_scans_to_the_page(study):
    table = read_tsv(study.out / paths.analysis("replication", "both", ".tsv"))
    trials = read_tsv(study.out / paths.analysis("replication", "both_trials", ".tsv"))
    row = table[table["roi_b"] == "precuneusL"].iloc[0]
    assert trials["n"].astype(int).tolist() == [4, 4, 5, 5]
    assert float(row["estimate"]) < -0.5
    assert float(row["ci_high"]) < 0
    record = read_json(study.out / paths.analysis("replication", "both"))
    assert record["families"][0] | {"smallest_p": 0} == {
        "contrast": "change", "kind": "edges", "features": 2, "permutations": 512, "complete": True,
        "smallest_p": 0,
    }  # fmt: skip
    assert float(row["p_fwe"]) == pytest.approx(2 / 512)
    page = (study.out / paths.REPORT).read_text(encoding="utf-8")
    assert "both: does the model change come out the same way in two data sets?" in page
    assert "Variance of a weighted mean" in page
    assert replication_section.CAUTION in page


def test_conn_check_announces_what_the_stage_does(study):
    cohort, runs = (read_tsv(study.out / path) for path in (paths.COHORT, paths.RUNS))
    problems = []
    text = "\n".join(line for part in analyses(study, cohort, runs, problems) for line in part)
    assert not problems
    assert "REPLICATION both" in text
    assert "change, first: n = 4" in text
    assert "change, second: n = 5" in text
    assert "2 edges; all 512 rearrangements within trials, smallest attainable p 0.00391" in text


def test_a_replication_that_is_short_of_people_is_not_done_and_conn_check_says_so(study):
    settings = study.config.model_copy(
        update={"replication": {"both": Replication(model="change", trials=("first", "third"))}}
    )
    cohort, runs = (read_tsv(study.out / path) for path in (paths.COHORT, paths.RUNS))
    problems = []
    lines = [
        line for part in analyses(Study(study.config_path, settings), cohort, runs, problems) for line in part
    ]
    assert f"{NOT_DONE}: replication.both.trials: nobody has dataset = 'third'" in "\n".join(lines)
    assert not problems


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "changex"}, "there is no model 'changex'; did you mean change"),
        ({"model": "change", "contrasts": ["slope"]}, "'slope' is no contrast of paired; known: change"),
        ({"model": "change", "by": "site"}, "no variable 'site'"),
        ({"model": "change", "trials": ["first", "secondx"]}, "no data set 'secondx'; did you mean second"),
        ({"model": "change", "edges": [["insulaL", "PAG"]]}, "PAG is not a region of this study"),
    ],
)
def test_references_that_lead_nowhere_are_refused_with_the_nearest_names(tmp_path, changes, words):
    path = tmp_path / "wrong.yaml"
    path.write_text(to_yaml(SETTINGS | {"replication": {"both": {"model": "change"} | changes}}))
    with pytest.raises(ConfigError, match=re.escape(words)):
        open_study(path)


def test_a_model_of_maps_alone_has_nothing_to_compare(tmp_path):
    path = tmp_path / "wrong.yaml"
    models = {"change": SETTINGS["models"]["change"] | {"edges": "none"}}
    path.write_text(to_yaml(SETTINGS | {"models": models}))
    with pytest.raises(ConfigError, match="tests maps alone; name edges or networks"):
        open_study(path)
