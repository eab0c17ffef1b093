"""An analysis that is short of people: its reason stands for its results, and everything else is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from conn import not_done, paths
from conn.config.association import Association
from conn.config.mediation import Mediation
from conn.config.prediction import Prediction
from conn.config.reliability import Reliability
from conn.errors import ConfigError, DesignError, InputError, TooLittleDataError
from conn.files import read_json, write_json
from conn.not_done import unless_refused
from conn.preregistration import with_results
from conn.report import build_report
from conn.tables import read_tsv
from line import clinic, inside
from test_analysis_check import REFUSED, STABLE, study_in
from test_report import Maker, World, configuration, read

FOLDERS = {"associations": "association"}
TABLES = {"associations": "scale", "prediction": "observed", "reliability": "sem_change"}
FEW = "2 people are left to train on; 5 inner folds need 10."


def test_each_kind_leaves_its_reason_and_the_others_go_on(tmp_path: Path):
    """All four are asked of nine people; a fifth, which nine are enough for, is done."""
    asked = {section: {"small": options} for section, (options, _) in REFUSED.items()}
    asked["reliability"]["enough"] = {**STABLE, "edges": [["sgACCL", "insulaL"]]}
    study = study_in(tmp_path, n=9, **asked)
    stale = study.out / "mediation" / "small_seed-PAG_stat-p_statmap.nii.gz"
    stale.parent.mkdir()
    stale.touch()
    with inside(study.out):
        clinic(study)
    for section, (_, message) in REFUSED.items():
        kind = FOLDERS.get(section, section)
        record = read_json(study.out / paths.analysis(kind, "small"))
        assert message in record["not_done"]
        assert record["status"] == (None if section == "reliability" else "exploratory")
        if section in TABLES:
            table = read_tsv(study.out / paths.analysis(kind, "small", ".tsv"))
            assert table.empty and TABLES[section] in table.columns
    assert "not_done" in read_json(study.out / "prediction" / "small_model.json")
    assert not stale.exists()
    assert not_done.done(study.out, "reliability", ["small", "enough"]) == ["enough"]
    assert not [name for name in with_results(study.out) if name.endswith(".small")]
    said = not_done.lines(study.out, study.analyses)
    assert len(said) == 4
    assert said[1].startswith(
        "not done: association small: associations.small: nobody has all that is asked for"
    )


@pytest.mark.parametrize("error", [DesignError, TooLittleDataError])
def test_few_people_are_a_result(tmp_path: Path, error: type[Exception]):
    (tmp_path / "mediation").mkdir()
    with unless_refused(tmp_path, "mediation", "few"):
        raise error("three people")
    assert not_done.reason(tmp_path, "mediation", "few") == "three people"


@pytest.mark.parametrize("error", [ConfigError, InputError, ValueError])
def test_what_is_wrong_is_an_error_as_before(tmp_path: Path, error: type[Exception]):
    with pytest.raises(error), unless_refused(tmp_path, "mediation", "wrong"):
        raise error("wrong")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a study none of whose four analyses could be done."""
    out = tmp_path_factory.mktemp("report")
    world = World(n=6, models=(), maps=False)
    Maker(out, world).write()
    edges = (("sgACCL", "insulaL"),)
    asked = {
        "associations": {"few": Association(before="pre", after="post", scales=("MADRS.change",))},
        "mediation": {
            "few": Mediation(
                arm="arm",
                levels=("ketamine", "placebo"),
                before="pre",
                after="post",
                randomised=True,
                outcome="MADRS",
                edges=edges,
            )
        },
        "prediction": {"few": Prediction(at="pre", outcome="MADRS.post", edges=edges)},
        "reliability": {"few": Reliability(before="pre", edges=edges)},
    }
    for section in asked:
        kind = FOLDERS.get(section, section)
        (out / kind).mkdir(exist_ok=True)
        record = {"name": "few", "status": "confirmatory, not locked", "not_done": f"{section}.few: {FEW}"}
        write_json(out / paths.analysis(kind, "few"), record)
    build_report(out, configuration(world).model_copy(update=asked))
    return read(out)[0]


NOUNS = ("association", "mediation analysis", "prediction", "analysis of reliability")


@pytest.mark.parametrize("noun", NOUNS)
def test_the_report_names_it_in_the_summary_and_in_its_place(page: str, noun: str):
    summary, rest = page.split('id="clinic"')
    reason = FEW
    assert f"The {noun} few could not be done. {reason}" in summary
    assert f"Not done: {noun} few" in rest
    assert f"Nothing was estimated or tested. {reason}" in rest


def test_the_methods_describe_nothing_that_was_not_done(page: str):
    methods = page.split('id="methods"')[1]
    assert "cross-validated scores" not in methods and "bootstrap samples of people" not in methods
