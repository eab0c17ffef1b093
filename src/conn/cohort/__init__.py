"""The clinical cohort: what the tables say about each person at each time point.

Tables are read by name, never aligned by order. Only ``n/a`` and the configured codes are missing;
whatever else is not a number where a number is needed is an error that names file, row and column.
"""

from conn.clinic.outcomes import Direction, percent_change, remitted, responded
from conn.cohort.names import Person, as_text, did_you_mean, natural
from conn.cohort.reading import ClinicalData, read_clinical
from conn.cohort.references import Column, carried, is_carried, orders_of, resolve
from conn.cohort.table import FIRST_COLUMNS, Cohort, build_cohort, imaging

__all__ = [
    "FIRST_COLUMNS",
    "ClinicalData",
    "Cohort",
    "Column",
    "Direction",
    "Person",
    "as_text",
    "build_cohort",
    "carried",
    "did_you_mean",
    "imaging",
    "is_carried",
    "natural",
    "orders_of",
    "percent_change",
    "read_clinical",
    "remitted",
    "resolve",
    "responded",
]
