"""What the report says and draws of a mediation analysis."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from conn.config.mediation import Mediation
from conn.config.model import Config, Dataset, Inference
from conn.report import mediation_section, mediation_words, references
from conn.report.context import Context
from conn.report.contract import Outputs
from conn.report.people import Names
from conn.rois import networks
from conn.stages.mediation import Mediators, Resources, mediate
from conn.tables import read_tsv, write_tsv
from mediation_study import CARRIER, CLINICAL, NETWORK, REGIONS, write_study

SETTINGS: dict[str, Any] = {
    "arm": "arm",
    "levels": ("drug", "placebo"),
    "before": "pre",
    "after": "post",
    "randomised": True,
    "outcome": "MADRS",
    "bootstrap": 1000,
}
NAME = f"{CARRIER[0]} \N{EN DASH} {CARRIER[1]}"


def context_of(out: Path, mediators: Mediators, **changes: Any) -> Context:
    """Run an analysis and say what the report would know of it."""
    write_study(out)
    settings, inference = Mediation(**{**SETTINGS, **changes}), Inference(permutations=199)
    mediate(out, "m", settings, CLINICAL, inference, mediators, Resources(out), seed=1)
    config = Config(
        datasets={"trial": Dataset(bids_dir="data")}, mediation={"m": settings}, inference=inference
    )
    outputs = cast("Outputs", SimpleNamespace(out=out, config=config))
    return Context(out / "figures", outputs, Names({}), cast("Any", None))


def text(context: Context) -> str:
    (block,) = mediation_section.blocks(context)
    return " ".join([*block.sentences, block.caution])


def test_the_strongest_edge_stands_beside_its_reverse_model(tmp_path):
    context = context_of(tmp_path, Mediators("all"), interaction=True)
    (block,) = mediation_section.blocks(context)
    said = " ".join(block.sentences)
    assert f"One of {len(REGIONS) * (len(REGIONS) - 1) // 2} edges has both paths at p_fwe ≤ 0.05" in said
    assert f"0.05: {NAME}: ab = " in said
    assert "The reverse model gives" in said
    assert "nobody was randomised to a level of connectivity" in block.caution
    paths, beside = block.tables
    assert [row.cells[0] for row in paths.rows if row.strong] == [NAME]
    assert beside.columns[1].title == "reverse ab"
    assert len(beside.rows) == len(paths.rows) == mediation_section.TOP
    (picture,) = block.pictures
    assert "too large on average" in picture.caption
    assert b"<svg" in picture.data
    assert [title for title, _ in block.folded] == ["More features", "Models, and how chance was measured"]


def test_nothing_found_is_not_called_nothing_there(tmp_path):
    said = text(context_of(tmp_path, Mediators([(REGIONS[2], REGIONS[3])])))
    assert "The one edge does not have both paths" in said
    assert "not evidence that nothing is carried" in said


def test_arms_by_choice_are_said_first_and_in_the_limits(tmp_path):
    context = context_of(tmp_path, Mediators([CARRIER]), randomised=False)
    (block,) = mediation_section.blocks(context)
    assert block.caution.startswith("arm was not randomised")
    assert "The levels were not randomised" in block.pictures[0].caption
    assert "too large on average" not in block.pictures[0].caption
    limits = list(mediation_words.limits(context.outputs))
    assert "not even the total effect is one of treatment" in limits[1]
    assert "not randomised, n = 40" in next(iter(mediation_words.methods(context.outputs)))


def test_mediators_together_have_a_sentence_and_a_table(tmp_path):
    pairs = (CARRIER, (REGIONS[2], REGIONS[3]))
    context = context_of(tmp_path, Mediators(), edges="none", together=pairs)
    (block,) = mediation_section.blocks(context)
    assert f"both paths are shown (p_fwe ≤ 0.05) of {NAME}." in block.sentences[-1]
    assert [row.cells[0] for row in block.tables[0].rows][-1] == "all together"
    cited = [reference.doi for reference in references.of_mediation(context.outputs)]
    assert "10.3758/BRM.40.3.879" in cited
    assert "10.1037/met0000086" not in cited


def test_several_families_are_said_with_what_is_left_of_their_hits(tmp_path):
    network = {NETWORK: networks.edges(NETWORK)}
    pairs = (CARRIER, (REGIONS[2], REGIONS[3]))
    context = context_of(tmp_path, Mediators("all", network), together=pairs)
    (block,) = mediation_section.blocks(context)
    said = " ".join(block.sentences)
    assert "0.05 (also after Holm's correction over the analysis's three families): " in said
    assert f"of {NAME} (also after Holm's correction" in block.sentences[-1]
    edges, _, joined = block.tables
    assert {"p_holm"} <= {column.title for column in edges.columns} & {c.title for c in joined.columns}
    assert "edges, networks and edges entered together" in edges.note
    methods = " ".join(mediation_words.methods(context.outputs))
    assert "p_fwe holds within one of its 3 families; p_holm goes over all of them (Holm 1979)." in methods


def test_a_hit_that_holm_takes_back_is_said(tmp_path):
    context = context_of(tmp_path, Mediators("all"), together=(CARRIER, (REGIONS[2], REGIONS[3])))
    table = tmp_path / "mediation" / "m.tsv"
    cells = read_tsv(table)
    cells.loc[cells["p_fwe"].astype(float) <= 0.05, ["p_fwe", "p_holm"]] = ["0.04", "0.08"]
    write_tsv(table, cells)
    assert "0.05 (but not after Holm's correction over the analysis's two families): " in text(context)


def test_one_family_says_nothing_of_holm(tmp_path):
    context = context_of(tmp_path, Mediators([CARRIER]))
    (block,) = mediation_section.blocks(context)
    assert "Holm" not in " ".join([*block.sentences, *mediation_words.methods(context.outputs)])
    assert "p_holm" not in {column.title for column in block.tables[0].columns}


def test_a_crossover_speaks_of_time_points(tmp_path):
    options = {"arm": None, "sequence": "order", "levels": ("drugFirst", "placeboFirst")}
    context = context_of(tmp_path, Mediators([CARRIER]), **options)
    said = text(context)
    assert "the effect of post against pre on MADRS" in said
    assert "post minus pre" in said
    assert "carries over into the second" in said
    assert any("Montoya" in sentence for sentence in mediation_words.methods(context.outputs))


def test_an_analysis_without_results_has_no_block(tmp_path):
    context = context_of(tmp_path, Mediators([CARRIER]))
    (tmp_path / "mediation" / "m.json").unlink()
    assert list(mediation_section.blocks(context)) == []
    assert list(mediation_words.limits(context.outputs)) == []
