"""Clinical scales that are known by name: range, direction, cut-offs in use, and where these come from.

Cut-offs and reliabilities differ between sources. All that were found are listed, none is a default: a study
states its own, and `conn scales` helps to choose. What could not be checked in its source is marked.
"""

from __future__ import annotations

from dataclasses import dataclass

from conn.clinic.outcomes import Direction


@dataclass(frozen=True)
class Sourced:
    """A number with what it means and where it comes from.

    Attributes
    ----------
    value
        The number.
    words
        What it means.
    source
        DOI, PubMed number, or the reference in words.
    verified
        Whether the number was read in the source, its abstract or a review of it; else it is from memory.
    """

    value: float
    words: str
    source: str
    verified: bool = True


@dataclass(frozen=True)
class ScaleKind:
    """A published scale.

    Attributes
    ----------
    kind
        Its name in a configuration.
    title
        Its name in words.
    direction
        Which way is improvement.
    minimum, maximum
        Range of the total; None where versions differ, and then a study states its own.
    source
        Where the scale was published.
    response
        Improvements in percent of baseline that were called a response.
    remission
        Scores that were called remission, or absence of the symptom: this or better.
    retest
        Test-retest reliabilities, which a reliable change index needs.
    note
        What is easily mistaken.
    """

    kind: str
    title: str
    direction: Direction
    minimum: float | None
    maximum: float | None
    source: str
    response: tuple[Sourced, ...] = ()
    remission: tuple[Sourced, ...] = ()
    retest: tuple[Sourced, ...] = ()
    note: str = ""


RIEDEL = "Riedel 2010, 10.1016/j.jpsychires.2010.03.006"
ZIMMERMAN_2004 = "Zimmerman 2004, PubMed 15003068"
ZIMMERMAN_HDRS = "Zimmerman, Posternak and Chelminski 2004, J Psychiatr Res 38:577-582"
FRANK = "Frank 1991, 10.1001/archpsyc.1991.01810330075011"
STRAUSS = "Strauss 2011, 10.1016/j.psychres.2011.01.012"
HAWLEY = "Hawley 2002, PubMed 12200208"
ZIMMERMAN_2005 = "Zimmerman 2005, 10.1097/01.nmd.0000154840.63529.5d, in 10.1017/S2045796018000227"
BANDELOW = "Bandelow 2006, in 10.1017/S2045796018000227"
LEUCHT = "Leucht 2013, in 10.1017/S2045796018000227"
WANG = "Wang and Gorenstein 2013, 10.1590/1516-4446-2012-1048"
IMMPACT = "Dworkin 2008 (IMMPACT), 10.1016/j.jpain.2007.09.005"
HALF = Sourced(50, "the usual rule of antidepressant trials", "convention; see " + RIEDEL)
ROOS = "Roos 1999, Scand J Rheumatol 28:210-215"

_KINDS = (
    ScaleKind(
        "MADRS",
        "Montgomery-Asberg Depression Rating Scale",
        "lower_is_better",
        0,
        60,
        "Montgomery and Asberg 1979, 10.1192/bjp.134.4.382",
        response=(HALF, Sourced(46, "agrees best with a clinical impression of response", RIEDEL)),
        remission=(
            Sourced(4, "no clinically significant symptom (narrow)", ZIMMERMAN_2004),
            Sourced(5, "clinical impression: not at all ill", BANDELOW),
            Sourced(7, "clinical impression: normal", RIEDEL),
            Sourced(9, "DSM-IV remission (broad); MADRS below 10", ZIMMERMAN_2004),
            Sourced(9, "clinical impression: below 9 or below 10", HAWLEY),
            Sourced(10, "stands for a HDRS-17 of 7 in people who recovered", ZIMMERMAN_HDRS),
            Sourced(11, "clinical impression: at most borderline ill", BANDELOW),
        ),
        retest=(
            Sourced(
                0.93,
                "two independent structured interviews by two raters, ICC",
                "Williams and Kobak 2008, 10.1192/bjp.bp.106.032532",
            ),
        ),
    ),
    ScaleKind(
        "HDRS17",
        "Hamilton Depression Rating Scale, 17 items",
        "lower_is_better",
        0,
        52,
        "Hamilton 1960, 10.1136/jnnp.23.1.56",
        response=(HALF, Sourced(57, "agrees best with a clinical impression of response", RIEDEL)),
        remission=(
            Sourced(2, "no clinically significant symptom (narrow)", ZIMMERMAN_2005),
            Sourced(5, "DSM-IV remission (broad)", ZIMMERMAN_2005),
            Sourced(5, "clinical impression: normal", LEUCHT),
            Sourced(6, "clinical impression: normal", RIEDEL),
            Sourced(7, "clinical impression: at most borderline ill", LEUCHT),
            Sourced(7, "consensus of most trials", FRANK, verified=False),
        ),
        retest=(
            Sourced(
                0.81,
                "two structured interviews by two raters, ICC",
                "Williams 1988, 10.1001/archpsyc.1988.01800320058007",
                verified=False,
            ),
        ),
    ),
    ScaleKind(
        "HDRS24",
        "Hamilton Depression Rating Scale, 24 items",
        "lower_is_better",
        0,
        None,
        "Hamilton 1960, 10.1136/jnnp.23.1.56, with seven further items",
        response=(HALF,),
        remission=(
            Sourced(10, "in two assessments in a row, trials of ECT", "Husain 2004, PubMed 15119910"),
        ),
        note="Versions differ in the largest total; state the maximum of yours.",
    ),
    ScaleKind(
        "BDI",
        "Beck Depression Inventory",
        "lower_is_better",
        0,
        63,
        "Beck 1961, 10.1001/archpsyc.1961.01710120031004",
        response=(HALF, Sourced(47, "agrees best with a clinical impression of response", RIEDEL)),
        remission=(Sourced(12, "clinical impression: normal", RIEDEL),),
    ),
    ScaleKind(
        "BDI2",
        "Beck Depression Inventory, second edition",
        "lower_is_better",
        0,
        63,
        "Beck, Steer and Brown 1996, manual",
        response=(HALF,),
        remission=(Sourced(13, "minimal depression", "Beck, Steer and Brown 1996, manual"),),
        retest=(
            Sourced(0.93, "one week, 26 outpatients", "Beck, Steer and Brown 1996, manual"),
            Sourced(0.73, "lowest of those reviewed", WANG),
            Sourced(0.96, "highest of those reviewed", WANG),
        ),
        note="Not the BDI: cut-offs of one do not serve the other.",
    ),
    ScaleKind(
        "SHAPS",
        "Snaith-Hamilton Pleasure Scale, items counted as 0 or 1",
        "lower_is_better",
        0,
        14,
        "Snaith 1995, 10.1192/bjp.167.1.99",
        remission=(Sourced(2, "normal hedonic tone", "Snaith 1995, 10.1192/bjp.167.1.99"),),
        note="Scored with four levels it is SHAPS56; scores of one do not compare with the other.",
    ),
    ScaleKind(
        "SHAPS56",
        "Snaith-Hamilton Pleasure Scale, items counted from 1 to 4",
        "lower_is_better",
        14,
        56,
        "Franken 2007, 10.1016/j.jad.2006.08.007",
        retest=(
            Sourced(0.70, "people without a diagnosis, ICC", "Franken 2007, 10.1016/j.jad.2006.08.007"),
            Sourced(0.64, "four weeks, Chinese students", "Liu 2012, 10.1186/1471-244X-12-184"),
        ),
        note="Higher is more anhedonia in this coding; some code it the other way round. It begins at 14.",
    ),
    ScaleKind(
        "TEPS",
        "Temporal Experience of Pleasure Scale, 18 items from 1 to 6",
        "higher_is_better",
        18,
        108,
        "Gard 2006, 10.1016/j.jrp.2005.11.001",
        note="It begins at 18. Some report the mean of the items (1 to 6): state minimum and maximum then.",
    ),
    ScaleKind(
        "TEPSanticipatory",
        "Temporal Experience of Pleasure Scale, anticipatory, 10 items",
        "higher_is_better",
        10,
        60,
        "Gard 2006, 10.1016/j.jrp.2005.11.001",
        retest=(Sourced(0.74, "19 people with schizophrenia, ICC", STRAUSS),),
    ),
    ScaleKind(
        "TEPSconsummatory",
        "Temporal Experience of Pleasure Scale, consummatory, 8 items",
        "higher_is_better",
        8,
        48,
        "Gard 2006, 10.1016/j.jrp.2005.11.001",
        retest=(Sourced(0.93, "19 people with schizophrenia, ICC", STRAUSS),),
    ),
    ScaleKind(
        "painVAS",
        "Visual analogue scale of pain, mm",
        "lower_is_better",
        0,
        100,
        "Hawker 2011, 10.1002/acr.20543",
        response=(
            Sourced(30, "moderate improvement", IMMPACT, verified=False),
            Sourced(50, "substantial improvement", IMMPACT, verified=False),
        ),
        remission=(Sourced(34, "mild pain, chronic musculoskeletal", "Boonstra 2014, Pain 155:2545-2550"),),
        note="In centimetres it ends at 10: state the maximum then.",
    ),
    ScaleKind(
        "WOMAC",
        "Western Ontario and McMaster osteoarthritis index, sum of 24 items from 0 to 4",
        "lower_is_better",
        0,
        96,
        "Bellamy 1988, J Rheumatol 15:1833-1840",
        note="Others end at 10 to 2400 (10.1007/s11136-018-1978-1): state the maximum then.",
    ),
    ScaleKind(
        "WOMACpain",
        "Western Ontario and McMaster osteoarthritis index, pain, 5 items from 0 to 4",
        "lower_is_better",
        0,
        20,
        "Bellamy 1988, J Rheumatol 15:1833-1840",
        retest=(Sourced(0.74, "knee, Swedish version, ICC", ROOS),),
    ),
    ScaleKind(
        "WOMACfunction",
        "Western Ontario and McMaster osteoarthritis index, physical function, 17 items from 0 to 4",
        "lower_is_better",
        0,
        68,
        "Bellamy 1988, J Rheumatol 15:1833-1840",
        retest=(Sourced(0.92, "knee, Swedish version, ICC", ROOS),),
    ),
)

KINDS: dict[str, ScaleKind] = {one.kind: one for one in _KINDS}
"""Known scales by their name in a configuration."""


REGISTRY = "registry"
"""Stands in a configuration for the value that is known here."""


def retest(kind: str) -> Sourced | None:
    """The test-retest reliability of a scale that can be taken without a choice.

    Parameters
    ----------
    kind
        Of the scale.

    Returns
    -------
    Sourced or None
        None where nothing was read in its source, or several different values were.
    """
    read = [one for one in KINDS[kind].retest if one.verified]
    return read[0] if len(read) == 1 else None


def lines(kind: ScaleKind) -> list[str]:
    """What is known of a scale, in lines of text."""
    top = "?" if kind.maximum is None else f"{kind.maximum:g}"
    low = "?" if kind.minimum is None else f"{kind.minimum:g}"
    better = kind.direction.replace("_", " ")
    found = [f"{kind.kind}: {kind.title}, {low} to {top}, {better} ({kind.source})"]
    sign = "≤" if kind.direction == "lower_is_better" else "≥"
    for what, entries, form in (
        ("response", kind.response, "{:g} % of baseline"),
        ("remission", kind.remission, sign + " {:g}"),
        ("test-retest", kind.retest, "{:g}"),
    ):
        for one in entries:
            mark = "" if one.verified else "; from memory, look it up before you use it"
            found.append(f"  {what} {form.format(one.value)}: {one.words} ({one.source}{mark})")
    return [*found, f"  {kind.note}"] if kind.note else found


def listing() -> str:
    """All scales, for a terminal."""
    head = "Nothing here is a default but range and direction. State threshold and reliability of your study."
    return "\n\n".join([head, *("\n".join(lines(kind)) for kind in KINDS.values())])


def threshold_words(kind: str | None, threshold: float) -> str:
    """Who used a threshold of remission, and which others are in use; empty for a scale that is not known."""
    known = KINDS[kind].remission if kind is not None else ()
    if not known:
        return ""
    same = [one for one in known if one.value == threshold]
    others = sorted({one.value for one in known} - {threshold})
    here = (
        "; ".join(f"{one.words} ({one.source})" for one in same) or "in none of the sources that are listed"
    )
    return f"{threshold:g}: {here}. Others in use: {', '.join(f'{value:g}' for value in others) or 'none'}"
