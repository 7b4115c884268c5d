"""A file that is replaced is the old one or the new one, wherever the process dies and whatever fails."""

import ast
import json
import os
import re
import resource
import socket
import sys
from pathlib import Path

import pytest

import iapo
from iapo.ops.text_files import check_is_text, check_writable, read_bytes, read_text, write_text


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


def test_the_file_that_was_asked_for_is_named(tmp_path):
    """Not the one that stands in for it while it is written."""
    place = tmp_path / "no" / "file.md"
    with pytest.raises(FileNotFoundError, match=f": '{place}'$"):
        write_text(place, "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=f" -> '{tmp_path / 'folder'}'$"):
        write_text(tmp_path / "folder", "text")


def test_places_that_cannot_be_written_are_named(tmp_path):
    for place in (tmp_path, tmp_path / "no" / "file"):
        with pytest.raises(OSError, match=f"output: cannot write {place} .*; want a file in a folder"):
            check_writable("output", str(place))
    check_writable("output", str(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"output: cannot write .*pipe \(it is a named pipe\)"):
        check_writable("output", str(tmp_path / "pipe"))
    check_writable("output", str(tmp_path / "file"))


@pytest.mark.parametrize("kind", ["folder", "named pipe", "socket", "device"])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, kind, linked, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket has a limit
    path = Path("file")
    if kind == "folder":
        path.mkdir()
    elif kind == "named pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    else:
        path.symlink_to(os.devnull)
    if linked:
        Path("link").symlink_to(path)
        path = Path("link")
    for read in (read_bytes, read_text):
        with pytest.raises(OSError, match=f"^{path}: is a {kind}, want a file; put the file back, or remove"):
            read(path)


def test_files_are_read_as_bytes_and_as_text(tmp_path):
    (tmp_path / "file").write_bytes(b"caf\xc3\xa9 \xff")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link") == b"caf\xc3\xa9 \xff"
    assert read_text(tmp_path / "file", "replace") == "caf\xe9 \ufffd"
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_text(tmp_path / "nowhere")


OTHERS = {"ops/text_files.py", "inspection/page.py", "comparison/showing/page.py"}
"""Reads files by itself: the reader, and what comes with the package."""
GIVEN = {
    *("comparison/running/read_plan.py", "tasks/reading/contents.py", "training/configuration/plain_files.py"),
    *("estimators/packed/memory.py", "estimators/packed/matmul.py", "policy/files.py"),
}
"""Reads what the user or the system gives, or looks first whether it is a file."""


def test_files_of_runs_are_read_by_the_reader_alone():
    """Whatever lies in the place of a file of a run is named; a named pipe would be waited for."""
    package = Path(iapo.__file__).parent
    reading = set()
    for source in package.rglob("*.py"):
        calls = [each.func for each in ast.walk(ast.parse(source.read_text())) if isinstance(each, ast.Call)]
        names = {each.attr for each in calls if isinstance(each, ast.Attribute)}
        if names & {"read_text", "read_bytes"}:
            reading.add(source.relative_to(package).as_posix())
    assert reading == OTHERS | GIVEN


def test_lone_surrogates_are_written_as_json_reads_them(tmp_path):
    """The name of a run folder stands in its report, and may have bytes that are no text."""
    file = tmp_path / "texts.jsonl"
    name = os.fsdecode(b"a\xff")
    write_text(file, json.dumps(name, ensure_ascii=False))
    assert json.loads(read_text(file)) == name


def test_names_that_are_no_text_are_refused():
    check_is_text("output", "l\xe4uf-\u6a21")
    with pytest.raises(ValueError, match=r"^output: got 'a\\udcff', which has bytes that are no UTF-8, want a folder"):
        check_is_text("output", Path(os.fsdecode(b"a\xff")))
