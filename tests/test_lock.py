"""The lock of a plan: states, changes, amendments, and a file that tells when it was touched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from conn import lock
from conn.errors import InputError
from conn.lock import Change, Lock, Plan
from conn.seen import same

STRATEGY = "denoise.strategy"
FIRST = {"seed": 3, STRATEGY: "simple", "models.change.covariates": [], "inference.alpha": 0.05}


def plan(**changes) -> Plan:
    """A plan of one confirmatory and one exploratory contrast; a change of None takes a key out."""
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    settings = {key: value for key, value in (FIRST | changes).items() if value is not None}
    return Plan(settings, frozenset(), {"change": True, "time": False})


def locked(*steps: tuple[str, dict[str, Plan], list[str]]) -> Lock:
    """A lock with an entry per step: date, plans, models with results."""
    found = Lock("my.lock.json")
    for number, (date, plans, results) in enumerate(steps):
        reason = f"reason {number}" if number else None
        words = {"change": {"change": "mean change"}}
        entry = lock.next_entry(
            found, plans, date=f"{date}T09:30:00Z", version="0.1.0", results_of=results, words=words,
            reason=reason,
        )  # fmt: skip
        found = replace(found, entries=(*found.entries, entry))
    return found


ONE = locked(("2026-03-01", {"change": plan()}, []))
TWO = locked(
    ("2026-03-01", {"change": plan(), "arms": plan()}, []),
    ("2026-04-02", {"change": plan(denoise__strategy="24P"), "arms": plan()}, ["arms"]),
)


def written(folder: Path, found: Lock) -> Path:
    path = folder / found.name
    lock.write(path, found.entries)
    return path


# States -----------------------------------------------------------------------------------------------


def test_a_model_is_locked_on_the_day_that_it_was_written_down():
    assert lock.state_of(ONE.last, "change", plan()) == "locked 2026-03-01"


def test_a_model_without_a_lock_or_added_later_is_not_locked():
    assert lock.state_of(None, "change", plan()) == "not locked"
    assert lock.state_of(ONE.last, "another", plan()) == "not locked"


def test_a_model_that_is_not_as_it_was_locked_is_changed():
    assert lock.state_of(ONE.last, "change", plan(inference__alpha=0.01)) == "changed after locking"


def test_a_model_that_had_results_when_it_was_locked_is_late():
    late = locked(("2026-03-01", {"change": plan(), "arms": plan()}, ["change"]))
    assert lock.state_of(late.last, "change", plan()) == "locked after results existed"
    assert lock.state_of(late.last, "arms", plan()) == "locked 2026-03-01"


@pytest.mark.parametrize(
    ("state", "in_time"),
    [
        ("locked 2026-03-01", True),
        ("locked after results existed", False),
        ("changed after locking", False),
        ("not locked", False),
    ],
)
def test_only_contrasts_that_are_marked_carry_what_the_lock_says(state: str, in_time: bool):
    assert lock.label(state, confirmatory=True) == f"confirmatory, {state}"
    assert lock.label(state, confirmatory=False) == "exploratory"
    assert lock.in_time(state) is in_time


# Changes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"denoise__strategy": "24P"}, (STRATEGY, "simple", "24P")),
        ({"inference__alpha": 0.01}, ("inference.alpha", "0.05", "0.01")),
        ({"models__change__covariates": ["age"]}, ("models.change.covariates", "[]", '["age"]')),
        ({"seed": None}, ("seed", "3", "not there")),
        ({"extra": True}, ("extra", "not there", "true")),
        ({"seed": 3.0}, ("seed", "3", "3.0")),
    ],
)
def test_a_change_has_key_old_and_new(changes, expected):
    assert lock.compare(ONE.last, {"change": plan(**changes)}) == (Change(*expected, ("change",)),)


def test_a_setting_that_several_models_share_is_listed_once():
    assert TWO.entries[0].models.keys() == {"change", "arms"}
    both = {name: plan(seed=4) for name in ("change", "arms")}
    assert lock.compare(TWO.entries[0], both) == (Change("seed", "3", "4", ("change", "arms")),)


def test_models_that_come_and_go_are_changes():
    found = lock.compare(ONE.last, {"another": plan()})
    assert found == (
        Change("models.another", "not in the plan", "planned", ("another",)),
        Change("models.change", "planned", "not in the plan", ("change",)),
    )


def test_the_order_of_keys_is_no_change():
    turned = replace(plan(), settings=dict(reversed(list(plan().settings.items()))))
    assert list(turned.settings) != list(plan().settings)
    assert lock.compare(ONE.last, {"change": turned}) == ()
    assert turned.sha256 == plan().sha256


def test_an_option_of_a_later_version_is_no_change_until_it_leaves_its_default():
    later = replace(plan(**{"inference.tail": "counted"}), defaults=frozenset({"inference.tail", "seed"}))
    assert lock.compare(ONE.last, {"change": later}) == ()
    assert lock.state_of(ONE.last, "change", later) == "locked 2026-03-01"
    assert lock.unknown_options(ONE.last, {"change": later}) == ("inference.tail",)
    used = replace(plan(**{"inference.tail": "fitted"}), defaults=frozenset({"seed"}))
    assert [change.key for change in lock.compare(ONE.last, {"change": used})] == ["inference.tail"]
    assert lock.state_of(ONE.last, "change", used) == "changed after locking"


def test_a_default_that_a_later_version_changes_is_a_change():
    other = replace(plan(denoise__strategy="24P"), defaults=frozenset({STRATEGY}))
    assert [change.key for change in lock.compare(ONE.last, {"change": other})] == [STRATEGY]


# Amendments -------------------------------------------------------------------------------------------


def test_an_amendment_keeps_what_was_there_before_and_says_what_changed():
    first, second = TWO.entries
    assert (first.reason, second.reason) == (None, "reason 1")
    assert first.models["change"].settings[STRATEGY] == "simple"
    assert second.models["change"].settings[STRATEGY] == "24P"
    assert second.changes == (Change(STRATEGY, "simple", "24P", ("change",)),)
    assert second.previous == first.sha256


def test_a_model_that_an_amendment_leaves_alone_keeps_its_date_though_it_has_results_by_now():
    assert lock.state_of(TWO.last, "arms", plan()) == "locked 2026-03-01"
    assert lock.state_of(TWO.last, "change", plan(denoise__strategy="24P")) == "locked 2026-04-02"
    assert lock.state_of(TWO.last, "change", plan()) == "changed after locking"


def test_a_model_that_is_amended_after_its_results_is_late_also_when_it_goes_back_to_what_it_was():
    there = {"change": plan(denoise__strategy="24P")}
    found = locked(
        ("2026-03-01", {"change": plan()}, []), ("2026-04-02", there, []),
        ("2026-05-03", {"change": plan()}, ["change"]),
    )  # fmt: skip
    assert lock.state_of(found.entries[0], "change", plan()) == "locked 2026-03-01"
    assert lock.state_of(found.last, "change", plan()) == "locked after results existed"


# Another name -----------------------------------------------------------------------------------------

ASKED = {
    "design": "two_sample",
    "at": "pre",
    "group": "arm",
    "levels": ["drug", "placebo"],
    "covariates": [],
    "subset": {},
    "seeds": ["vmPFC"],
    "edges": ["PAG-insula", "PAG-vmPFC"],
    "networks": {},
}


def asks(name: str, **options) -> Plan:
    """The plan of a model of one data set."""
    own = {f"models.{name}.{key}": value for key, value in (ASKED | options).items()}
    return Plan({"datasets.trial.task": "rest", "seed": 3, **own}, frozenset(), {"difference": True})


def renamed(**options) -> str:
    """State of a model that is added under a new name when `change` has results."""
    found = locked(
        ("2026-03-01", {"change": asks("change")}, []),
        ("2026-04-02", {"change2": asks("change2", **options)}, ["change"]),
    )
    return lock.state_of(found.last, "change2", asks("change2", **options))


SEEN = "locked after results of change existed"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"covariates": ["age"]},
        {"levels": ["placebo", "drug"]},
        {"subset": {"sex": ["f"]}},
        {"seeds": [], "edges": ["PAG-insula"]},
        {"seeds": ["vmPFC"], "edges": []},
        {"seeds": [], "edges": "all pairs of edge_regions", "edge_regions": ["vmPFC", "PAG", "sgACC"]},
        {"seeds": [], "edges": [], "networks": {"pain": ["PAG-insula (-1)", "a-b"]}},
    ],
)
def test_what_was_seen_stays_seen_under_another_name(options):
    assert renamed(**options) == SEEN
    assert not lock.in_time(SEEN)


@pytest.mark.parametrize(
    "options",
    [
        {"at": "post"},
        {"group": "response"},
        {"design": "regression", "group": None, "levels": None, "predictor": "age"},
        {"seeds": ["sgACC"], "edges": ["amygdala-sgACC"]},
    ],
)
def test_another_question_is_locked_in_time(options):
    assert renamed(**options) == "locked 2026-04-02"


def test_other_people_and_other_data_sets_were_not_seen():
    women, men = asks("women", subset={"sex": ["f"]}), asks("men", subset={"sex": ["m"]})
    assert not same("men", men.settings, "women", women.settings)
    assert same("all", asks("all").settings, "women", women.settings)
    second = {key.replace("trial", "second"): value for key, value in women.settings.items()}
    assert not same("women", second, "women", women.settings)


def test_formulas_ask_the_same_when_they_test_a_column_in_common():
    own = {"design": "formula", "group": None, "levels": None}
    first = asks("a", **own, formula="age", tests={"x": {"age": 1.0}}).settings
    more = asks("b", **own, formula="age + sex", tests={"y": ["age", "sex=m"]}).settings
    other = asks("c", **own, formula="age + sex", tests={"x": {"sex=m": 1.0}}).settings
    assert same("b", more, "a", first)
    assert not same("c", other, "a", first)


def test_analyses_are_compared_with_those_of_their_section():
    own = {"before": "pre", "outcome": "MADRS", "edges": ["PAG-vmPFC"]}
    first, second = ({f"mediation.{name}.{key}": value for key, value in own.items()} for name in "ab")
    assert same("mediation.b", second, "mediation.a", first)
    model = {f"models.b.{key}": value for key, value in own.items()}
    assert not same("b", model, "mediation.a", first)


def test_settings_of_results_that_were_never_locked_are_looked_at_too():
    entry = lock.next_entry(
        Lock("my.lock.json"), {"change2": asks("change2")}, date="2026-04-02T09:30:00Z", version="0.1.0",
        results_of=["change"], earlier={"change": asks("change").settings},
    )  # fmt: skip
    assert lock.state_of(entry, "change2", asks("change2")) == SEEN
    assert entry.models["change2"].seen_as == "change"


def test_the_other_name_is_read_back_and_stands_in_the_record(tmp_path: Path):
    found = locked(
        ("2026-03-01", {"change": asks("change")}, []),
        ("2026-04-02", {"change2": asks("change2")}, ["change"]),
    )
    back = lock.read(written(tmp_path, found))
    assert back == found
    assert lock.record(back, {"change2": asks("change2")})["models"]["change2"]["state"] == SEEN
    assert "seen_as" not in found.entries[0].data["models"]["change"]


# The file ---------------------------------------------------------------------------------------------


def test_a_file_reads_back_as_it_was_written(tmp_path: Path):
    assert lock.read(written(tmp_path, TWO)) == TWO
    assert lock.read(tmp_path / "none.lock.json") == Lock("none.lock.json")


def test_anybody_can_check_the_sums_with_a_few_lines(tmp_path: Path):
    data = json.loads(written(tmp_path, TWO).read_text(encoding="utf-8"))

    def sha256(part) -> str:
        text = json.dumps(part, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    previous = None
    for entry in data["entries"]:
        for model in entry["models"].values():
            assert sha256(model["settings"]) == model["sha256"]
        stated = entry.pop("sha256")
        assert sha256(entry) == stated
        assert entry["previous"] == previous
        previous = stated


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_an_error_that_names_it(tmp_path: Path, share: float):
    path = written(tmp_path, TWO)
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: int(share * len(text))], encoding="utf-8")
    with pytest.raises(InputError, match=r"my\.lock\.json: not a lock file .*Bring back the version"):
        lock.read(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"simple"', '"24P"', "the settings of arms do not fit their SHA-256"),
        ("2026-03-01T09", "2026-02-01T09", r"entry 1 \(2026-02-01\) does not fit its SHA-256"),
        ('"reason 1"', '"a better reason"', r"entry 2 \(2026-04-02\) does not fit"),
        ('"arms"\n      ]', '"other"\n      ]', "entry 2 .* does not fit"),
        ('"after_results": false', '"after_results": true', "entry 1 .* does not fit"),
        ('"mean change"', '"mean difference"', "entry 1 .* does not fit"),
    ],
)
def test_an_edited_entry_no_longer_fits(tmp_path: Path, old: str, new: str, message: str):
    path = written(tmp_path, TWO)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        lock.read(path)


def test_an_entry_that_was_taken_out_is_missed(tmp_path: Path):
    path = written(tmp_path, TWO)
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["entries"][0]
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InputError, match="does not follow the one before it"):
        lock.read(path)


@pytest.mark.parametrize("text", ["[]", "null", '{"format": 1}', '{"format": 1, "entries": [{}]}', "\ufeff"])
def test_what_is_no_lock_is_an_error_that_names_it(tmp_path: Path, text: str):
    path = tmp_path / "my.lock.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"my\.lock\.json: not a lock file"):
        lock.read(path)


def test_a_later_format_and_a_file_without_entries_are_refused(tmp_path: Path):
    path = tmp_path / "my.lock.json"
    path.write_text('{"format": 2, "entries": []}', encoding="utf-8")
    with pytest.raises(InputError, match="format 2, and this version reads 1"):
        lock.read(path)
    path.write_text('{"format": 1, "entries": []}', encoding="utf-8")
    with pytest.raises(InputError, match="it has no entry"):
        lock.read(path)


# The record -------------------------------------------------------------------------------------------


def test_the_record_holds_days_and_no_settings():
    found = lock.record(TWO, {"change": plan(), "arms": plan()})
    assert found["file"] == "my.lock.json"
    assert [entry["date"] for entry in found["entries"]] == ["2026-03-01", "2026-04-02"]
    assert found["entries"][1]["models"]["arms"]["date"] == "2026-03-01"
    assert found["entries"][1]["sha256"] == TWO.last.sha256
    assert found["changes"] == [{"key": STRATEGY, "old": "24P", "new": "simple", "models": ["change"]}]
    assert found["models"]["change"]["state"] == "changed after locking"
    text = json.dumps(found)
    assert "T09:30" not in text and "covariates" not in text


def test_without_a_lock_the_record_says_that_nothing_is_locked():
    found = lock.record(Lock("my.lock.json"), {"change": plan()})
    assert (found["file"], found["entries"], found["changes"]) == (None, [], [])
    assert found["models"]["change"]["state"] == "not locked"
