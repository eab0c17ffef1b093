"""Files are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from conn.files import atomic, digest, read_json, write_json, write_text

KILLED = """
import os, signal, sys
from pathlib import Path
from conn.files import atomic
with atomic(Path(sys.argv[1])) as stream:
    stream.write(b"half of the new")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_is_written_with_its_folder(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    write_text(path, "Köln\n")
    assert path.read_bytes() == "Köln\n".encode()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "result.tsv"
    path.write_text("old")
    with pytest.raises(error), atomic(path) as stream:
        stream.write(b"half of the new")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(RuntimeError), atomic(tmp_path / "new.tsv"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("old", [None, "old"])
def test_a_kill_in_the_middle_leaves_the_old_file_and_no_partial_one_under_its_name(tmp_path, old):
    path = tmp_path / "result.tsv"
    if old is not None:
        path.write_text(old)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (path.read_text() if path.exists() else None) == old
    left = [p.name for p in tmp_path.iterdir() if p != path]
    assert all(name.startswith(".") and name.endswith(".part") for name in left)
    write_text(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a", "x")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_a_link_to_a_file_is_replaced_and_its_target_stays(tmp_path):
    target = tmp_path / "target"
    target.write_text("theirs")
    (tmp_path / "link").symlink_to(target)
    write_text(tmp_path / "link", "ours")
    assert (target.read_text(), (tmp_path / "link").read_text()) == ("theirs", "ours")


def test_json_has_sorted_keys_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "µ"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": "µ",\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert read_json(tmp_path / "a.json") == {"a": "µ", "b": 1}


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": 1}).encode())
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_a_digest_is_the_sha256_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert digest(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()
