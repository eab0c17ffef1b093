"""What the report says and shows of associations and reliability."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from clinic_contract import CLINICAL, edit, write
from conn.clinic.rates import rates_words
from conn.config.association import Association
from conn.config.reliability import Reliability
from conn.report import association_section, reliability_section, scatter
from conn.report.context import Context
from conn.report.people import make_names
from conn.report.regions import edge
from conn.stages.association import association
from conn.stages.reliability import reliability

ARMS = {"arm": "arm", "levels": ("drug", "placebo")}
NETWORKS = {"reward": [("sgACCL", "NAcL"), ("sgACCL", "insulaL")]}


def with_gap(table):
    table["SHAPS_change"] = table["SHAPS_change"].where(table["subject"] != "03", "n/a")


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """Two associations and two analyses of reliability of one trial."""
    out = tmp_path_factory.mktemp("reported")
    write(out)
    edit(out, with_gap)
    rel = {
        "stability": Reliability(before="pre", after="post", stable={"arm": ("placebo",)}),
        "halves": Reliability(before="pre", edges=(("sgACCL", "insulaL"),)),
    }
    base = {"before": "pre", "after": "post", "resamples": 200}
    asked = {
        "all": Association(
            scales=("MADRS.change", "SHAPS.change"),
            reliability="stability",
            scale_reliability={"MADRS": 0.05},
            **base,
            **ARMS,
        ),
        "declared": Association(
            scales=("MADRS.change",), edges=(("sgACCL", "insulaL"),), covariates=("age",), **base
        ),
    }
    for name, one in rel.items():
        pairs = one.edges if isinstance(one.edges, tuple) else "all"
        networks = NETWORKS if name == "stability" else {}
        reliability(out, name, one, CLINICAL, pairs, networks, combine_runs="weighted")
    for name, one in asked.items():
        pairs = one.edges if isinstance(one.edges, tuple) else "all"
        networks = NETWORKS if name == "all" else {}
        association(
            out, name, one, CLINICAL, pairs, networks, combine_runs="weighted", permutations=499, seed=1
        )
    config = SimpleNamespace(
        associations=asked, reliability=rel, inference=SimpleNamespace(alpha=0.05), clinical=CLINICAL
    )
    names = make_names([("trial", f"{n:02d}") for n in range(40)], anonymise=True, seed=0)
    figures = tmp_path_factory.mktemp("figures")
    return Context(figures, SimpleNamespace(out=out, config=config), names, None)


@pytest.fixture(scope="module")
def told(context):
    return {block.anchor: block for block in association_section.blocks(context)}


def test_the_planted_pair_is_said_with_interval_and_p(told):
    found = " ".join(told["association-all"].sentences)
    assert edge("sgACCL", "insulaL") in found
    assert "with MADRS.change in drug: r = " in found
    assert "95\N{NO-BREAK SPACE}% interval" in found
    assert "p_fwe" in found


def test_concurrence_is_said_each_time_and_selection_where_edges_were_picked(told):
    assert association_section.CONCURRENT in told["association-all"].caution
    assert association_section.CONCURRENT in told["association-declared"].caution
    assert "post-selection" in told["association-all"].caution
    assert "post-selection" not in told["association-declared"].caution
    assert told["association-all"].pictures[0].caption.startswith("Post-selection")
    assert not told["association-declared"].pictures[0].caption.startswith("Post-selection")


def test_a_correlation_above_its_ceiling_is_a_warning(told):
    assert "|r| is above its ceiling of" in " ".join(told["association-all"].sentences)


def test_the_family_is_said_with_its_size(told):
    found = " ".join(told["association-all"].sentences)
    assert "over all 12 pairs of scale and edge in the same 500 rearrangements" in found


def test_the_error_variance_is_said_with_what_it_does(context, told):
    found = " ".join(told["association-all"].sentences)
    assert "by the largest |t| of a slope" in found
    assert "t is a slope over its robust standard error (HC3)" in found
    assert rates_words(True) in found
    result = association_section.read(context, "declared")
    families = [dict(one, robust=False) for one in result.summary["families"]]
    plain = replace(result, summary={**result.summary, "families": families})
    said = association_section._variance(plain)
    assert said.startswith("All people share one error variance (inference.robust_slopes: false): ")
    assert rates_words(False) in said


def test_people_who_are_left_out_are_listed_without_their_label(told):
    (lost,) = (table for title, table in told["association-all"].folded if title == "People left out")
    assert [row.cells[1] for row in lost.rows] == ["SHAPS.change missing"]
    assert lost.rows[0].cells[0].startswith("P")


def test_rows_are_bold_exactly_when_significant(context, told):
    result = association_section.read(context, "all")
    table = told["association-all"].tables[0]
    hits = (result.ranked["p_fwe"] <= 0.05).sum()
    assert sum(row.strong for row in table.rows) == hits > 0
    assert len({len(row.cells) for row in table.rows} | {len(table.columns)}) == 1


def test_the_figure_has_a_line_and_a_band_for_each_arm():
    rng = np.random.default_rng(0)
    arms = np.repeat(["drug", "placebo"], 12)
    panel = scatter.Panel("a – b", "r = 0.1", "MADRS.change", rng.normal(size=24), rng.normal(size=24), arms)
    axes = scatter.people([panel], ["drug", "placebo"], "z").axes[0]
    assert len(axes.lines) == 2
    assert len(axes.collections) == 4
    assert len({to_hex(line.get_color()) for line in axes.lines}) == 2


def test_reliability_is_said_in_words_and_shown(context):
    told = {block.anchor: block for block in reliability_section.blocks(context)}
    both = told["reliability-stability"]
    words = " ".join(both.sentences)
    assert "20 people who were not treated in between (arm placebo)" in words
    assert "ICC(2,1): median" in words
    assert "that is taken off" in words
    assert "Untreated people change too" in both.caution
    assert "Halves of one run share the day" in told["reliability-halves"].caution
    assert "network reward" in both.tables[0].rows[0].cells[0]
    assert all(block.pictures for block in told.values())
