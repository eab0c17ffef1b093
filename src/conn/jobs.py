"""What every job of the workflow needs around its one call: a log, one BLAS thread, a clean failure."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from threadpoolctl import threadpool_limits

from conn import paths
from conn.errors import ConnError, ResourceError
from conn.files import write_json

BUG = 70
KILLED = (
    "ended without a word: something killed it, most often because memory ran out. Use fewer cores, or a "
    "larger machine."
)
"""What is noted of a job while it runs, and stands if nothing else can be noted any more."""


@contextmanager
def job(log: Path) -> Iterator[None]:
    """Run a job: output goes to its log; a failure is noted for `conn run` and ends the process.

    BLAS has one thread, whatever the profile gives a job: jobs run side by side, and with another number of
    threads a product is summed in another order, so that the bytes of results would depend on the machine.

    Parameters
    ----------
    log
        Log file; ``logs/errors`` holds a note under the same name while the job runs, and when it failed.
    """
    name = log.relative_to(paths.LOGS).with_suffix("").as_posix()
    note = paths.ERRORS / f"{name.replace('/', '_')}.json"

    def write_note(message: str, status: int) -> None:
        write_json(note, {"job": name, "message": message, "exit_code": status, "log": log.as_posix()})

    write_note(KILLED, ResourceError.exit_code)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream, redirect_stdout(stream), redirect_stderr(stream):
        try:
            with threadpool_limits(limits=1):
                yield
        except KeyboardInterrupt:
            note.unlink(missing_ok=True)
            raise
        except ConnError as error:
            failure, status = str(error), error.exit_code
            print(failure)
        except MemoryError:
            failure, status = (
                "not enough memory; use fewer cores or a larger machine",
                ResourceError.exit_code,
            )
            print(failure)
        except OSError as error:
            failure, status = f"{error.strerror or error}: {error.filename or ''}", ResourceError.exit_code
            traceback.print_exc(file=stream)
        except Exception as error:
            failure, status = f"a bug of conn: {type(error).__name__}: {error}", BUG
            traceback.print_exc(file=stream)
        else:
            note.unlink(missing_ok=True)
            return
    write_note(failure, status)
    sys.stderr.write(f"{name}: {failure}\n")
    sys.stderr.flush()
    os._exit(status)
