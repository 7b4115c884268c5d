"""Two processes in one folder, for real: the second is refused while the first lives, however the first ends."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iapo.cli import main
from iapo.ops import lock
from iapo.ops.lock import LOCK, check_held, locked

BEGINNING = (  # the file alone, without the seconds that the package around it takes
    f"import os, sys, time\nfrom pathlib import Path\nsys.path.append({str(Path(lock.__file__).parent)!r})\n"
    "from lock import locked\n"
)
HOLDER = BEGINNING + ("with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "runs" / "one"
    first = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(OSError, match=f"output: process {first.pid}, .* is at work in {folder}; wait"):
            locked(folder).__enter__()
        first.send_signal(number)
        first.wait()
        with locked(folder):
            assert (folder / LOCK).read_text() == f"{os.getpid()}\n"
    finally:
        first.kill()
        first.wait()
        first.stdout.close()


def test_training_is_refused_in_the_folder_of_another_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "run"
    with locked(folder):
        assert main(["train", "--output", str(folder), "--steps", "1"]) == 1
    assert capsys.readouterr().err == (
        f"iapo train: output: process {os.getpid()}, or one that it started, is at work in {folder}; wait, end it, "
        "or name another folder\n"
    )


def test_a_folder_into_which_nothing_was_put_goes_again(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / LOCK).exists()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "c").mkdir()
    with locked(tmp_path / "c"), pytest.raises(OSError, match="at work in"), locked(tmp_path / "c"):
        pass
    with locked(tmp_path / "c"):
        (tmp_path / "c" / "kept").touch()
    assert {path.name for path in (tmp_path / "c").iterdir()} == {LOCK, "kept"}


def test_many_processes_that_make_and_remove_a_folder_hold_it_one_at_a_time(tmp_path: Path) -> None:
    program = BEGINNING + (
        "folder, mark = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "held = 0\n"
        "while held < 30:\n"
        "    try:\n"
        "        with locked(folder):\n"
        "            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))\n"
        "            held += 1\n"
        "            mark.unlink()\n"
        "    except BlockingIOError:\n"
        "        pass\n"
    )
    line = [sys.executable, "-c", program, str(tmp_path / "folder"), str(tmp_path / "mark")]
    processes = [subprocess.Popen(line) for _ in range(3)]
    deadline = time.monotonic() + 120
    assert [process.wait(deadline - time.monotonic()) for process in processes] == [0, 0, 0]


@pytest.mark.parametrize("moment", ["before it is looked at", "before the file in it is looked at"])
def test_a_folder_that_goes_at_any_moment_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder = tmp_path / "folder"
    made, locking = Path.mkdir, fcntl.flock
    gone = []

    def mkdir(path: Path, *arguments: object, **options: object) -> None:
        if moment == "before it is looked at" and not gone:
            gone.append(path)  # another process made it, and removed it after this one had found it in the way
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        made(path, *arguments, **options)  # type: ignore[arg-type]

    def flock(descriptor: int, operation: int) -> None:
        if moment == "before the file in it is looked at" and not gone:
            gone.append(folder)
            shutil.rmtree(folder)
        locking(descriptor, operation)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(folder):
        assert gone
        assert (folder / LOCK).exists()


def test_a_folder_that_can_never_be_made_is_not_tried_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(path: Path, *_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))  # as in /proc

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(OSError, match=f"output: {tmp_path / 'run'} cannot be used .*; want a folder that can be"):
        locked(tmp_path / "run").__enter__()


def test_a_folder_that_its_holder_loses_does_not_hide_what_went_wrong(tmp_path: Path) -> None:
    def lose() -> None:
        with locked(tmp_path / "folder"):
            shutil.rmtree(tmp_path / "folder")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lose()


@pytest.mark.parametrize("loss", ["moved", "replaced", "emptied", "linked"])
def test_a_folder_is_held_as_long_as_it_is_in_its_place(tmp_path: Path, loss: str) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    with locked(folder) as descriptor:
        check_held(folder, descriptor)
        if loss == "emptied":
            (folder / LOCK).unlink()
        else:
            folder.rename(elsewhere)
        if loss == "replaced":
            folder.mkdir()
            (folder / LOCK).touch()
        if loss == "linked":
            folder.mkdir()
            (folder / LOCK).symlink_to(elsewhere / LOCK)
        with pytest.raises(FileNotFoundError, match=f"output: {folder} was moved, removed, emptied or replaced while"):
            check_held(folder, descriptor)
    if loss == "replaced":
        assert (folder / LOCK).exists(), "it is another process's"


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    full = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n    locked(Path(sys.argv[1])).__enter__()\nexcept OSError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", BEGINNING + full, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"[Errno {errno.EFBIG}] File too large: '{tmp_path / LOCK}'\n"


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for folder in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / "link", tmp_path / "link" / "run"):
        with pytest.raises(OSError, match=f"output: {folder} cannot be used .*; want a folder that can be written"):
            locked(folder).__enter__()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="cannot be used"):
        locked(tmp_path / "run").__enter__()
    assert not (tmp_path / "elsewhere").exists()


def test_a_name_that_is_too_long_and_a_pipe_in_the_place_of_the_lock_are_named(tmp_path: Path) -> None:
    for folder in (tmp_path / ("n" * 256), tmp_path / "with pipe"):
        if folder.name == "with pipe":
            folder.mkdir()
            os.mkfifo(folder / LOCK)
        with pytest.raises(
            OSError, match=rf"^output: {folder} cannot be used \((File name too long|Is a named pipe): "
        ):
            locked(folder).__enter__()
