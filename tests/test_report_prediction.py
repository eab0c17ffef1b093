"""What the report says of a prediction, from the files that the stage leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conn import paths
from conn.config.prediction import Prediction
from conn.files import read_json
from conn.report import build_report
from test_report import Maker, Page, World, configuration, read
from test_stage_prediction import FAST, run, study

SETTINGS = Prediction(**{**FAST, "outcome": "response", "harmonise": "site", "leave_out": "site"})


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Page]:
    """A class and a score, predicted in one study and put beside a report of another."""
    out, own = tmp_path_factory.mktemp("report"), tmp_path_factory.mktemp("own")
    study(own, n=60, datasets=("trial", "second"))
    world = World(n=4, models=(), maps=False)
    Maker(out, world).write()
    asked = {
        "classes": SETTINGS.model_copy(update={"train": ("trial",), "test": ("second",), "permutations": 0}),
        "score": Prediction(**{**FAST, "outcome": "MADRS.post", "clinical": ()}),
    }
    for name, settings in asked.items():
        run(own, settings)
        for ending in (".json", ".tsv"):
            target = out / paths.analysis("prediction", name, ending)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(own / paths.analysis("prediction", "p", ending), target)
    build_report(out, configuration(world).model_copy(update={"prediction": asked}))
    return out, *read(out)


def test_the_honest_score_stands_beside_the_circular_one(shown: tuple[Path, str, Page]) -> None:
    out, _, page = shown
    rows, bold = page.table("Score", "Not seen")
    record = read_json(out / "prediction/classes.json")
    assert rows[0][0] == "AUC"
    assert float(rows[0][1]) == pytest.approx(record["scores"]["auc"]["estimate"], abs=0.006)
    assert float(rows[0][3]) == pytest.approx(record["apparent"]["auc"], abs=0.006)
    assert bold[0] and not any(bold[1:])


def test_every_sentence_of_the_file_stands_in_the_report_with_its_caution(
    shown: tuple[Path, str, Page],
) -> None:
    out, html, _ = shown
    for name in ("classes", "score"):
        for sentence in read_json(out / f"prediction/{name}.json")["words"]:
            assert sentence.split(";")[0][:60] in html
            assert "{" not in sentence
    assert html.count("It is no reason to use the model for anybody") == 2
    assert "The baseline of MADRS is not among the predictors" in html


def test_the_other_data_set_and_left_out_sites_are_shown(shown: tuple[Path, str, Page]) -> None:
    _, html, page = shown
    assert "In second" in html
    rows, _ = page.table("Group", "n")
    assert [row[0] for row in rows] == ["a", "b"]


def test_methods_say_what_ran_and_whose_interval_it_is(shown: tuple[Path, str, Page]) -> None:
    out, *_ = shown
    text = (out / paths.METHODS).read_text(encoding="utf-8")
    assert "classes: response was predicted from edges at pre" in text
    assert "harmonised over site by ComBat" in text
    for doi in ("10.1080/01621459.2023.2197686", "10.2307/2531595", "10.1093/biostatistics/kxj037"):
        assert doi in text


def test_figures_say_what_they_show(shown: tuple[Path, str, Page]) -> None:
    out, _, page = shown
    alts = [image["alt"] or "" for image in page.images()]
    assert any(alt.startswith("ROC of classes: AUC") for alt in alts)
    assert any(alt.startswith("Predicted and observed outcome of score: R²") for alt in alts)
    assert (out / "figures/prediction-classes.svg").is_file()


def test_a_study_without_predictions_has_no_such_section(tmp_path: Path) -> None:
    world = World(n=3, models=(), maps=False)
    Maker(tmp_path, world).write()
    build_report(tmp_path, configuration(world))
    html, _ = read(tmp_path)
    assert 'id="clinic"' not in html
    assert "**Prediction.**" not in (tmp_path / paths.METHODS).read_text(encoding="utf-8")
