"""What a clinical analysis tests, in a sentence, before there is any result."""

from __future__ import annotations

from conn.clinic.mediation import words
from conn.config.association import Association
from conn.config.model import Config
from conn.config.prediction import Prediction
from conn.config.reliability import Reliability
from conn.config.replication import Replication
from conn.points import at
from conn.stages.mediation_table import told


def analysis_words(config: Config) -> dict[str, str]:
    """Section and name of every analysis that tests something, as in ``mediation.carried``, to its words."""
    found = {f"associations.{name}": association_words(one) for name, one in config.associations.items()}
    found |= {f"mediation.{name}": words.question(told(one)) for name, one in config.mediation.items()}
    found |= {f"replication.{name}": replication_words(one) for name, one in config.replication.items()}
    return found | {f"prediction.{name}": prediction_words(one) for name, one in config.prediction.items()}


def association_words(asked: Association) -> str:
    """What an association tests."""
    held = [*asked.covariates, *(["the baselines of scale and edge"] if asked.adjusted else [])]
    constant = f", holding {', '.join(held)} constant" if held else ""
    arms = ""
    if asked.levels:
        arms = f" Within each of {', '.join(asked.levels)}, over all of them, and whether they differ."
    return (
        f"Does the change of connectivity ({asked.after} minus {asked.before}) go with "
        f"{', '.join(asked.scales)}{constant}?{arms}"
    )


def prediction_words(asked: Prediction) -> str:
    """What a prediction tests."""
    event = f" ({asked.event})" if asked.event is not None else ""
    where = f" Made in {', '.join(asked.train)}" if asked.train else ""
    where += f", tested in {', '.join(asked.test)}." if asked.test else "." if where else ""
    return (
        f"Is {asked.outcome}{event} predicted by {asked.features}{at(asked.at)} in people whom the model has "
        f"not seen, and better than by clinical values alone?{where}"
    )


def replication_words(asked: Replication) -> str:
    """What a replication asks."""
    contrasts = f" ({', '.join(asked.contrasts)})" if asked.contrasts else ""
    trials = f" in {', '.join(asked.trials)}" if asked.trials else f" in every {asked.by}"
    return (
        f"Does the model {asked.model}{contrasts}, fitted by itself{trials}, come out the same way, and what "
        "do the trials say together?"
    )


def reliability_words(asked: Reliability) -> str:
    """What an analysis of reliability looks at."""
    parts = []
    if asked.stable is not None:
        parts.append(
            f"sessions at {asked.before} and {asked.after} of people who were not treated in between"
        )
    if asked.split_half:
        parts.append(f"halves of runs{at(asked.before)}{f' and {asked.after}' if asked.after else ''}")
    return f"How precisely is connectivity measured, by {' and by '.join(parts)}? Nothing is tested."
