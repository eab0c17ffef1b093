"""One error tree; every class has its own exit code.

A message names the thing, its value, the limit, and what to change.
"""

from __future__ import annotations


class ConnError(Exception):
    """Base of all errors that a user can act on."""

    exit_code = 70


class ConfigError(ConnError):
    """The configuration is wrong: file, key, value, allowed range."""

    exit_code = 2


class InputError(ConnError):
    """An input file is missing, damaged, or contradicts another one."""

    exit_code = 3


class DesignError(ConfigError):
    """A statistical design that would be wrong; the message names rows and columns."""


class TooLittleDataError(ConnError):
    """Too little is left to analyse."""

    exit_code = 4


class ResourceError(ConnError):
    """Memory, disk or processors are missing; another attempt may succeed."""

    exit_code = 5
