"""Loops that are compiled to machine code, with types that a checker can follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile a function on its first call for each kind of arguments; the result is kept on disk.

    It releases the interpreter's lock, so that threads run it side by side. Floating point is that of the
    standard: no reordering of sums, so that results do not depend on the compiler's mood. Where the package's
    folder cannot be written, numba keeps the result in the user's cache.

    Parameters
    ----------
    function
        Of arrays and numbers.
    """
    return cast(F, numba.njit(nogil=True, cache=True)(function))


def compiled_maxima(function: F) -> F:
    """As `compiled`, of loops that look for the largest of numbers among which there is no NaN.

    With that promise several numbers are compared at once. A maximum is the same in any order, and sums are
    still not reordered.
    """
    return cast(F, numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})(function))
