"""One process at a time in an output folder, with a lock that dies with its process."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

NAME = ".conn.lock"


def hold(out: Path) -> IO[bytes] | None:
    """Take the lock of an output folder for as long as the returned file stays open.

    Parameters
    ----------
    out
        Output folder; it must be there.

    Returns
    -------
    file object or None
        None when a living process holds the lock. A killed process leaves no lock behind.
    """
    stream = (out / NAME).open("ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    return stream
