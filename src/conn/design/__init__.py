"""Designs compile to rows: what is compared, who is a row, what is nuisance, what may change places.

A contrast is a set of weights over the time points of a person, times a contrast between people. The data
of a row are the weighted Fisher z of that person's runs, so that one person is one row, always.
A design that would be wrong raises `DesignError`; nothing is repaired and nothing is dropped in silence.
"""

from conn.design.compiler import compile_model
from conn.design.families import smallest_p
from conn.design.files import load_design, save_design
from conn.design.plans import helmert
from conn.design.spec import ROW_COLUMNS, Design, DesignContrast, EffectType, Exchange, Family
from conn.design.words import describe, dropped_words, exchange_words, variance_words

__all__ = [
    "ROW_COLUMNS",
    "Design",
    "DesignContrast",
    "EffectType",
    "Exchange",
    "Family",
    "compile_model",
    "describe",
    "dropped_words",
    "exchange_words",
    "helmert",
    "load_design",
    "save_design",
    "smallest_p",
    "variance_words",
]
