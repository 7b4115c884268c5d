"""A file that is replaced is the old one or the new one, wherever the process dies and whatever fails."""

import os
import re
import resource
import sys

import pytest

from iapo.ops.text_files import check_writable, write_text


def in_a_child(action) -> int:
    """Exit code of a forked process that runs an action: 0, or 3 for an ``OSError``."""
    process = os.fork()
    if process == 0:
        try:
            action()
            os._exit(0)
        except OSError:
            os._exit(3)
        finally:
            os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def dying_at(count: int, action):
    """An action whose process dies at the ``count``-th operation on files."""

    def child() -> None:
        left = [count]

        def hook(event: str, values: tuple) -> None:
            if event in ("open", "os.rename", "os.remove"):
                left[0] -= 1
                if left[0] == 0:
                    os._exit(9)

        sys.addaudithook(hook)
        action()

    return child


def test_a_death_at_any_operation_leaves_the_old_or_the_new_file(tmp_path):
    file, codes = tmp_path / "report.md", []
    while not codes or codes[-1] != 0:
        file.write_text("old")
        codes.append(in_a_child(dying_at(len(codes) + 1, lambda: write_text(file, "new" * 1000))))
        assert file.read_text() == ("new" * 1000 if codes[-1] == 0 else "old")
        assert len(codes) < 20
    assert len(codes) > 3
    write_text(file, "newest")
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"], "what a dead process left is taken away"


def test_a_full_disk_leaves_the_old_file_alone(tmp_path):
    file = tmp_path / "report.md"
    file.write_text("old")

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        with pytest.raises(OSError, match=re.escape(f"File too large: '{file}'")) as raised:
            write_text(file, "new" * 1000)
        raise raised.value

    assert in_a_child(full) == 3
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.md", "old")]


def test_places_that_cannot_be_written_are_named(tmp_path):
    for place in (tmp_path, tmp_path / "no" / "file"):
        with pytest.raises(OSError, match=f"output: cannot write {place} .*; want a file in a folder"):
            check_writable("output", str(place))
    check_writable("output", str(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []
