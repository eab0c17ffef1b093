"""Options of associations and reliability, and their checks across keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from conn.clinic.scales import KINDS, retest
from conn.config.association import Association
from conn.config.checks import check
from conn.config.model import Config
from conn.config.reliability import Reliability
from conn.errors import ConfigError

BASE = {"before": "pre", "after": "post", "scales": ("MADRS.change",)}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"arm": "arm"}, "give both arm and at least two levels"),
        ({"arm": "arm", "levels": ("drug", "drug")}, "an arm is listed twice"),
        ({"after": "pre"}, "a change needs two time points"),
        ({"scales": ("A.change", "A.change")}, "scales: one is listed twice"),
        ({"edges": "none"}, "nothing is left to correlate"),
    ],
)
def test_an_association_that_says_nothing_is_refused(more, words):
    with pytest.raises(ValidationError, match=words):
        Association(**(BASE | more))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"stable": {}}, "stable needs after"),
        ({"after": "pre"}, "two time points are needed"),
        ({"split_half": False}, "nothing is left to compare"),
        ({"after": "post", "edge_measure": "partial"}, "halves of a run have no partial correlations"),
        ({"edges": "none"}, "nothing is left to look at"),
    ],
)
def test_a_reliability_that_says_nothing_is_refused(more, words):
    with pytest.raises(ValidationError, match=words):
        Reliability(**({"before": "pre"} | more))


POINTS = {"pre": ("1",), "week2": ("3",), "post": ("2",)}


def configured(associations=None, reliability=None, networks=None):
    scale = {"columns": {"pre": "a", "post": "b"}}
    return Config.model_validate(
        {
            "datasets": {"trial": {"bids_dir": "x", "time_points": {"labels": POINTS}}},
            "clinical": {
                "baseline": "pre",
                "endpoint": "post",
                "scales": {"MADRS": scale},
                "variables": {"arm": {"column": "arm", "kind": "category"}, "age": {"column": "age"}},
            },
            "rois": {"use": ("sgACC", "insula")},
            "connectivity": {"seeds": ("sgACC",), "networks": networks or {}},
            "associations": {"a": BASE | associations} if associations is not None else {},
            "reliability": reliability or {},
        }
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"before": "por"}, r"associations\.a\.before = 'por': no such time point"),
        ({"scales": ("MARDS.change",)}, r"'MARDS\.change' is no scale; did you mean MADRS"),
        ({"scales": ("age",), "adjusted": True}, "is no scale of clinical.scales and has no baseline"),
        ({"arm": "amr", "levels": ("a", "b")}, "no variable 'amr' in clinical.variables; did you mean arm"),
        ({"edges": (("sgACCL", "insulaX"),)}, "insulaX is not a region of this study; did you mean insula"),
        ({"edges": (("sgACCL", "sgACCL"),)}, "sgACCL is paired with itself"),
        ({"edges": "nothing"}, "is neither all, none, nor a network"),
        ({"networks": ("nothing",)}, "'nothing' is no network"),
        ({"edge_measure": "partial"}, "partial correlations are not computed"),
        ({"reliability": "r"}, "no analysis 'r' in reliability"),
        ({"scale_reliability": {"SHAPS": 0.9}}, "'SHAPS' is none of its scales: MADRS"),
    ],
)
def test_what_leads_nowhere_is_named(more, words):
    with pytest.raises(ConfigError, match=words):
        check(configured(more), Path("study.yaml"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (None, "MADRS has no kind in clinical.scales"),
        ("BDI2", r"of BDI2 its reliabilities need a choice: 0\.93, one week.*0\.73, lowest.*; give a number"),
        ("HDRS17", r"of HDRS17 its reliabilities need a choice: 0\.81, .*; not checked\)"),
        ("TEPS", "of TEPS no test-retest reliability is known; give a number"),
    ],
)
def test_a_reliability_that_nobody_checked_or_that_needs_a_choice_is_not_taken(kind, words):
    config = configured({"scale_reliability": {"MADRS": "registry"}})
    scale = config.clinical.scales["MADRS"].model_copy(update={"kind": kind})
    clinical = config.clinical.model_copy(update={"scales": {"MADRS": scale}})
    with pytest.raises(ConfigError, match=rf"associations\.a\.scale_reliability\.MADRS: {words}"):
        check(config.model_copy(update={"clinical": clinical}), Path("study.yaml"))


def test_the_registry_gives_only_what_was_read_in_its_source():
    for kind, known in KINDS.items():
        found = retest(kind)
        read = [one for one in known.retest if one.verified]
        assert found == (read[0] if len(read) == 1 else None)
    assert retest("MADRS").value == 0.93
    assert retest("HDRS17") is None, "marked as from memory"


def test_a_ceiling_needs_the_reliability_of_a_change():
    with pytest.raises(ConfigError, match="r has no `after`, so it knows nothing of a change"):
        check(configured({"reliability": "r"}, {"r": {"before": "pre"}}), Path("study.yaml"))


@pytest.mark.parametrize(("before", "after"), [("pre", "week2"), ("week2", "post"), ("post", "pre")])
def test_a_ceiling_needs_the_reliability_of_the_same_change(before, after):
    rel = {"r": {"before": before, "after": after, "stable": {"arm": ("b",)}}}
    words = (
        rf"associations\.a\.reliability: r is about the change from {before} to {after}, this association "
        "about that from pre to post"
    )
    with pytest.raises(ConfigError, match=words):
        check(configured({"reliability": "r"}, rel), Path("study.yaml"))


def test_what_is_right_passes():
    more = {"arm": "arm", "levels": ("a", "b"), "reliability": "r", "scale_reliability": {"MADRS": 0.8}}
    rel = {"r": {"before": "pre", "after": "post", "stable": {"arm": ("b",)}}}
    check(configured(more, rel), Path("study.yaml"))


def test_a_network_of_ones_own_is_known():
    own = {"mine": (("sgACCL", "insulaL", -1),)}
    check(configured({"networks": ("mine",)}, networks=own), Path("study.yaml"))
    check(configured({"edges": "mine"}, networks=own), Path("study.yaml"))


def test_a_variable_of_reliability_must_exist():
    rel = {"r": {"before": "pre", "after": "post", "stable": {"group": ("b",)}}}
    with pytest.raises(ConfigError, match=r"reliability\.r: no variable 'group'"):
        check(configured(None, rel), Path("study.yaml"))
