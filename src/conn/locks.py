"""One run at a time in an output folder, with a lock that dies with its processes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

NAME = ".conn.lock"


class Lock:
    """The lock of an output folder, held until `release`, or until its last process ends.

    Attributes
    ----------
    handle
        Descriptor to hand on to a child (`subprocess.Popen(pass_fds=…)`), which then holds the lock too:
        a run whose parent was killed is still protected.
    sure
        False where the file system knows no locks (some network drives); the lock then protects nothing.
    """

    def __init__(self, handle: int, *, sure: bool) -> None:
        self.handle = handle
        self.sure = sure

    def release(self) -> None:
        """Give the lock back, as far as this process goes."""
        os.close(self.handle)


def hold(out: Path) -> Lock | None:
    """Take the lock of an output folder.

    Parameters
    ----------
    out
        Output folder; it must be there.

    Returns
    -------
    Lock or None
        None when a living process holds it. Killed processes leave no lock behind.
    """
    handle = os.open(out / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:
        return Lock(handle, sure=False)
    return Lock(handle, sure=True)
