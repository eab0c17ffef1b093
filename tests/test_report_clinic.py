"""The report of a study with clinical analyses: its opening, methods and references, with models and "
"without."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from conn import paths
from conn.report import (
    association_section,
    association_words,
    build,
    build_report,
    clinic_section,
    cohort_section,
    opening,
    page,
    references,
)
from conn.report.contract import read_outputs
from conn.report.lacking_words import lacking_words
from conn.report.regions import edge
from conn.stages.left_out import KINDS
from test_left_out import EVERYTHING, run, trial
from test_report import Maker, Page, World, configuration, read

ASKED = {
    "associations": {
        name: one.model_copy(update={"reliability": "stable"}) if name == "mood" else one
        for name, one in EVERYTHING.association.items()
    },
    "mediation": EVERYTHING.mediation,
    "prediction": EVERYTHING.prediction,
    "reliability": EVERYTHING.reliability,
}
CITED = re.compile(r"([A-Z]\w+)(?: et al\.| and (?:\w+ )*[A-Z]\w+(?:, [A-Z]\w+)*)? \(?((?:19|20)\d\d)\b")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial with all analyses done."""
    out = trial(tmp_path_factory.mktemp("own"))
    run(out)
    return out


def built(out: Path, own: Path, world: World) -> tuple[str, Page]:
    """A report of one study with the analyses of another put beside it."""
    Maker(out, world).write()
    for kind in KINDS:
        shutil.copytree(own / kind, out / kind)
        for path in (own / kind).iterdir():
            shutil.copyfile(path, out / kind / f"gone{''.join(path.suffixes)}")
    build_report(out, configuration(world).model_copy(update=ASKED))
    return read(out)


@pytest.fixture(scope="module")
def alone(own: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Page]:
    """Without group models."""
    out = tmp_path_factory.mktemp("alone")
    return out, *built(out, own, World(n=4, models=(), maps=False))


@pytest.fixture(scope="module")
def beside(own: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Page]:
    """Beside a group model."""
    out = tmp_path_factory.mktemp("beside")
    return out, *built(out, own, World(n=6, models=("baseline",), maps=False))


def summary(html: str) -> str:
    return html[html.index('id="summary"') : html.index("<nav")]


def test_without_models_the_opening_speaks_of_the_analyses(alone: tuple[Path, str, Page]):
    _, html, _ = alone
    said = summary(html)
    assert "Five clinical analyses" in html[: html.index('id="summary"')]
    assert "No group model was configured; connectivity is looked at together with scores." in said
    assert (
        "Two associations (mood and each), one mediation analysis (carried), one prediction (severity) and "
        "one analysis of reliability (stable) were made." in said
    )
    assert "nothing is tested" not in html and "First level only" not in html
    assert "What clinical analyses found stands under From connectivity to the clinic" in html


def test_the_summary_has_a_finding_of_every_analysis_that_leads_to_it(alone: tuple[Path, str, Page]):
    _, html, _ = alone
    said = summary(html)
    for anchor in (
        *("association-mood", "association-each", "mediation-carried"),
        *("prediction-severity", "reliability-stable"),
    ):
        assert f'<a href="#{anchor}">' in said
        assert f'id="{anchor}"' in html
    assert "In people whom the model had not seen, the R²" in said
    assert "p_fwe" in said


def test_with_models_the_opening_speaks_of_both(beside: tuple[Path, str, Page]):
    _, html, _ = beside
    said = summary(html)
    assert "One group model and five clinical analyses" in html[: html.index('id="summary"')]
    assert "One contrast of one model was tested." in said
    assert "From connectivity to the clinic: two associations (mood and each), one mediation analysis" in said
    assert "No group model was configured" not in html


def test_a_study_of_neither_says_so():
    config = configuration(World(n=3, models=()))
    assert opening.kicker(config) == "First level only"
    assert opening.asked(config) == "" and not opening.has_analyses(config)
    assert opening.findings([page.Block("a", "A", ("found",))]) == []


def test_confirmatory_analyses_are_named_in_the_opening(own: Path, tmp_path: Path):
    Maker(tmp_path, World(n=4, models=(), maps=False)).write()
    mood = ASKED["associations"]["mood"].model_copy(update={"confirmatory": True})
    config = configuration(World(n=4, models=())).model_copy(update={"associations": {"mood": mood}})
    said = opening.sentences(read_outputs(tmp_path, config))
    assert said.endswith("One association (mood) was made; mood is declared confirmatory.")


@pytest.mark.parametrize("which", ["alone", "beside"])
def test_every_work_that_the_methods_name_is_cited_and_every_cited_one_is_named(
    which: str, request: pytest.FixtureRequest
):
    out, _, _ = request.getfixturevalue(which)
    text = (out / paths.METHODS).read_text(encoding="utf-8")
    body, listed = text.split("**References.**")
    named = set(CITED.findall(body))
    works = {(one.split()[1], *re.findall(r"\((\d{4})\)", one)[:1]) for one in listed.strip().splitlines()}
    clinical = [line for line in body.splitlines() if re.match(r"\*\*(Assoc|Media|Predi|Relia)", line)]
    assert len(clinical) == 4
    missing = {pair for line in clinical for pair in CITED.findall(line)} - works
    assert not missing, "named in the text, not in the list"
    outputs = read_outputs(out, configuration(World(models=())).model_copy(update=ASKED))
    for work in references.of_clinic(outputs):
        year = re.findall(r"(\d{4})\)", work.text)[0]
        assert (work.text.split()[0], year) in named, work.text


def test_methods_are_those_of_what_was_asked(alone: tuple[Path, str, Page]):
    text = (alone[0] / paths.METHODS).read_text(encoding="utf-8")
    assert (
        "mood: the change of connectivity from pre to post was correlated with MADRS.change and SHAPS.chan"
        in text
    )
    assert "in people with all scales" in text and "each scale in the people who have it" in text
    assert "Efron" not in text, "no intervals were asked for"
    assert "The ceiling of a correlation is" in text and "with scales counted as free of error" in text
    assert "averages over runs are descriptive" not in text
    assert "the largest |t| of a family gave p_fwe" in text.replace("\\", "")
    assert "(HC3, MacKinnon and White 1985)" in text and "one error variance for all people" not in text


def test_methods_of_associations_say_when_all_people_share_one_variance(alone: tuple[Path, str, Page]):
    config = configuration(World(models=())).model_copy(update=ASKED)
    plain = config.inference.model_copy(update={"robust_slopes": False})
    three = ASKED["associations"]["mood"].model_copy(update={"arm": "arm", "levels": ("a", "b", "c")})
    several = config.model_copy(update={"associations": {"mood": three}})
    said = {
        name: " ".join(association_words.methods(read_outputs(alone[0], one)))
        for name, one in (("plain", config.model_copy(update={"inference": plain})), ("several", several))
    }
    assert "one error variance for all people" in said["plain"] and "HC3" not in said["plain"]
    assert "compared in pairs" not in said["plain"]
    assert "More than two arms were compared in pairs, and the largest |t| of all pairs" in said["several"]


def test_limits_of_analyses_stand_in_a_report_without_models(alone: tuple[Path, str, Page]):
    _, html, _ = alone
    limits = html[html.index('id="limits"') :]
    for words in (
        "Associations of change with change",
        "Mediation analyses do not show",
        "holds for people like",
    ):
        assert words in limits
    assert "nothing is tested" not in limits


def test_the_report_never_shows_results_that_the_configuration_does_not_ask_for(
    alone: tuple[Path, str, Page],
):
    out, html, _ = alone
    assert (out / "association" / "gone.json").exists()
    for kind in KINDS:
        assert f"{kind}-gone" not in html
    assert not [path for path in (out / paths.FIGURES).iterdir() if "gone" in path.name]


def test_people_left_out_of_analyses_are_counted_in_the_report(own: Path, tmp_path: Path):
    world = World(n=4, models=(), maps=False)
    Maker(tmp_path, world).write()
    table = (tmp_path / paths.EXCLUSIONS).read_text().rstrip("\n")
    rows = [
        f"trial\t0{n}\tn/a\tn/a\tn/a\tassociation\tnot_in_analysis\tmood: no included run at post\tn/a"
        for n in (1, 2)
    ]
    (tmp_path / paths.EXCLUSIONS).write_text("\n".join([table, *rows]) + "\n")
    outputs = read_outputs(tmp_path, configuration(world))
    words = build._exclusion_words(outputs)
    assert words.endswith(
        "Two people are asked for and missing in at least one clinical analysis, and listed with it."
    )
    counted = cohort_section.exclusion_counts(outputs)
    assert counted is not None
    what = ("Not in a clinical analysis; the reason stands with it", "association", "person of an analysis")
    assert [row.cells for row in counted.rows if row.cells[:3] == what] == [(*what, "2", "2", "–", "")]


def test_every_kind_of_analysis_has_its_methods():
    assert [title for title, _ in clinic_section.METHODS] == [
        "Change and baseline", "Associations", "Mediation", "Prediction", "Reliability", "Replication",
    ]  # fmt: skip


def test_features_that_somebody_lacks_are_named_worst_first_in_the_report():
    rows = [
        ("PAG", "all", 2),
        ("PAG", "drug", 1),
        ("NAcL", "all", 5),
        ("insulaL", "all", 0),
        ("RVM", "drug", 9),
    ]
    cells = [
        {"network": "n/a", "roi_a": "sgACCL", "roi_b": other, "arm": arm, "n_lacking": float(n)}
        for other, arm, n in rows
    ]
    (said,) = association_section._lacking(pd.DataFrame(cells))
    named = f"{edge('sgACCL', 'NAcL')} (5 people) and {edge('sgACCL', 'PAG')} (2 people)"
    assert said == (
        f"2 of 3 features are not correlated over everybody, because somebody lacks them: {named}. "
        "inference.min_share counts for group models alone."
    )
    assert lacking_words([], 3, "tested") == ""
    assert lacking_words([("A", 1)], 1, "tested").startswith(
        "1 of 1 feature is not tested, because somebody lacks it: A (1 person)."
    )
