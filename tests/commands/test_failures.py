"""What a user sees of an error, by the real command line: one line, an exit code, and no traceback unless asked for."""

import errno
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import iapo
from iapo.cli import main
from iapo.commands.failures import describe, is_expected, report
from iapo.embedded import model_path

TINY = [
    *("--steps", "2", "--prompts_per_step", "4", "--group_size", "2", "--limit", "32", "--diagnose", "0"),
    *("--sampler.max_new_tokens", "8", "--eval_problems", "4", "--eval_samples", "2", "--checkpoint_every", "1"),
]


@pytest.fixture
def fails(capsys):
    """The command line in this process: its exit code and the one line that it must print."""

    def fails(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        lines = [
            line
            for line in capsys.readouterr().err.splitlines()
            if not line.startswith(("prompt: ", "style: ", "first ", "iapo train: setting up "))
        ]
        assert len(lines) == 1, lines
        return code, lines[0]

    return fails


@given(st.text(), st.sampled_from([ValueError, RuntimeError, KeyError, OSError, UnicodeError, AssertionError]))
def test_every_error_has_one_line_that_any_terminal_takes(text, kind):
    line = describe(kind(text))
    assert line
    assert line.isprintable()
    assert len(line) <= 1500


def test_what_was_raised_on_purpose_says_it_all():
    from iapo.ops.checks import check_number

    errors = []
    for call in (lambda: check_number("x", "0"), lambda: check_number("x", 0, "0", None), lambda: {}[1]):
        try:
            call()
        except Exception as error:
            errors.append(error)
    assert [is_expected(error) for error in errors] == [True, False, False]
    assert describe(errors[1]).startswith("TypeError: ")
    assert describe(errors[2]) == "KeyError: 1"


def test_a_full_disk_and_full_memory_say_what_to_do():
    full = OSError(errno.ENOSPC, "No space left on device", "x")
    assert "make room, then run it again (a training with --resume" in describe(full)
    for error in (torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("can't allocate memory")):
        assert describe(error).startswith("out of memory")
        assert "lower --micro_batch" in describe(error)


OWN = """
from iapo.tasks import Task

class Breaks(Task):
    def __init__(self, late: bool = False):
        self.late = late

    def rows(self, split="train", seed=0, limit=None):
        if not self.late:
            raise ZeroDivisionError("by\\nnought")
        return [{"prompt": f"{i}+1=", "answer": str(i + 1)} for i in range(64)][:limit]

    def classifier(self, tokenizer, prompts):
        if self.late:
            return lambda prompt, completion: {}["no class"]

def score(completions, **_):
    return [float(place) for place in range(len(completions))]
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_breaking.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_breaking.Breaks"


def test_an_error_that_nobody_expected_is_one_line_too(own, tmp_path, fails, capsys):
    arguments = ["train", "--output", str(tmp_path / "run"), *TINY, "--task", own]
    code, line = fails(*arguments)
    assert code == 1
    place = "own_breaking.py, line 10, in rows"
    assert line == f"iapo train: ZeroDivisionError: by nought ({place}); run it again with --debug for the traceback"
    assert not (tmp_path / "run").exists()
    assert main([*arguments, "--debug"]) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "own_breaking.py" in printed


def test_in_a_run_its_traceback_is_kept(own, tmp_path, fails):
    folder = tmp_path / "run"
    late = ("--diagnose", "1", "--task", own, "--task.late", "true", "--rewards", f"{tmp_path}/own_breaking.py:score")
    asked = ("--assigner", "InformationAware", "--estimator", "AnswerLikelihood")
    code, line = fails("train", "--output", str(folder), *TINY, *late, *asked)
    assert code == 1
    assert line.endswith(f"run it again with --debug for the traceback (also in {folder / 'traceback.txt'})")
    assert "own_breaking.py" in (folder / "traceback.txt").read_text()


def damaged_model(folder: Path, file: str, content: bytes | None) -> str:
    shutil.copytree(model_path(), folder)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    return str(folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 64),
        ("model.safetensors", (2**62).to_bytes(8, "little") + b"{}"),
        ("model.safetensors", None),
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "llama", "hidden_size": 7}'),
        ("config.json", None),
        ("tokenizer.json", b'{"a": 1}'),
        ("tokenizer.json", b"\xff\xfe"),
    ],
)
def test_a_damaged_model_is_named(file, content, tmp_path, fails):
    model = damaged_model(tmp_path / "model", file, content)
    code, line = fails("train", "--output", str(tmp_path / "run"), *TINY, "--model", model)
    assert code in (1, 2)
    assert f"model: {model} cannot be loaded" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bogus"], "invalid choice: 'bogus'"),
        ([], "subcommand"),
        (["train", "--bogus", "1"], "bogus"),
        (["train", "--config", "none.yaml"], "none.yaml"),
        (["train", "--config", "BINARY"], "config: a file is no YAML in UTF-8"),
        (["train", "--config", "DEEP"], "config"),
        (["eval", "--ks", "x"], "ks"),
        (["compare"], "comparison"),
    ],
)
def test_a_command_line_that_cannot_be_parsed_is_one_line_and_2(arguments, message, tmp_path, fails):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe: [")
    (tmp_path / "deep.yaml").write_text("[" * 20_000)
    files = {"BINARY": str(tmp_path / "binary.yaml"), "DEEP": str(tmp_path / "deep.yaml")}
    code, line = fails(*(files.get(word, word) for word in arguments))
    assert code == 2
    assert message in line
    assert line.startswith("iapo")
    assert "--help lists what there is" in line


def test_files_of_settings_run_no_code(tmp_path, fails):
    mark = tmp_path / "mark"
    (tmp_path / "settings.yaml").write_text(f"steps: !!python/object/apply:os.mkdir ['{mark}']\n")
    (tmp_path / "plan.yaml").write_text(f"base: !!python/object/apply:os.mkdir ['{mark}']\n")
    assert fails("train", "--config", str(tmp_path / "settings.yaml"))[0] == 2
    assert fails("compare", str(tmp_path / "plan.yaml"), "--output", str(tmp_path / "out"))[0] == 1
    (tmp_path / "plan.yaml").write_text("bogus: 1\n")
    assert "bogus" in fails("compare", str(tmp_path / "plan.yaml"), "--output", str(tmp_path / "out"))[1]
    assert not mark.exists()


@pytest.mark.parametrize("command", ["eval", "inspect"])
def test_where_results_cannot_be_written_is_said_before_any_work(command, tmp_path, fails):
    flag = {"eval": "--output", "inspect": "--html"}[command]
    models = ["--models", '["no/such/model"]'] if command == "eval" else []
    for place in (tmp_path, tmp_path / "nowhere" / "file"):
        code, line = fails(command, flag, str(place), *models)
        assert code == 1
        assert line.startswith(f"iapo {command}: {flag[2:]}: cannot write {place}")


def program(*lines: str) -> list[str]:
    """A command line whose process first runs some lines of Python."""
    return [sys.executable, "-c", "\n".join([*lines, "import sys", "from iapo.cli import main", "sys.exit(main())"])]


def run(line: list[str], **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300, **options)


def test_python_without_docstrings_is_refused_in_one_line():
    """Transformers reads its own docstrings when it is imported, and fails in a traceback without."""
    done = run([sys.executable, "-OO", *program()[1:], "show", "--help"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "iapo show: Python runs without docstrings (-OO, PYTHONOPTIMIZE=2), which transformers"
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line", [["train", *TINY], ["export", str(model_path())], ["compare", "iapo://compare/embedded"]]
)
def test_a_folder_whose_name_is_no_text_is_refused_before_any_work(line, tmp_path, capsys):
    """A run failed at its first checkpoint, where the tokenizer is written."""
    folder = tmp_path / os.fsdecode(b"a\xff")
    assert main([*line, "--output", str(folder)]) == 1
    assert "has bytes that are no UTF-8" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_ends_the_run_and_leaves_the_checkpoints(tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["train", "--output", str(folder), *TINY]
    assert main([*arguments, "--steps", "1"]) == 0
    size = (folder / "checkpoint-1" / "model.safetensors").stat().st_size
    full = program("import resource", f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size - 1}, {size - 1}))")
    done = run([*full, *arguments, "--resume"])
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("iapo train: ")
    assert "make room, then go on with --resume" in last
    assert "Traceback" not in done.stderr
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-1"]
    capsys.readouterr()
    assert main([*arguments, "--resume"]) == 0, capsys.readouterr().err
    assert (folder / "checkpoint-2").exists()


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("/home/me/.local/lib/python3.12/site-packages/library/module.py", False),
        ("/usr/lib/python3/dist-packages/library/module.py", False),
        (f"{sysconfig.get_path('stdlib')}/json/decoder.py", False),
        (f"{Path(iapo.__file__).parent}/cli.py", False),
        (f"{Path(iapo.__file__).parent}_rewards.py", True),
        (f"{Path(iapo.__file__).parents[1]}/mine.py", True),
    ],
)
def test_the_line_of_an_error_is_told_where_it_is_in_a_file_of_the_user(file: str, told: bool, capsys):
    with pytest.raises(KeyError) as caught:
        exec(compile("raise KeyError('hint')", file, "exec"))
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)
    assert report("iapo train", error, debug=False, folder=None) == 1
    assert (f" ({Path(file).name}, line 1, in <module>)" in capsys.readouterr().err) == told


MOVES = """
from pathlib import Path

def reward(completions, **_):
    folder = Path({folder!r})
    if (folder / "checkpoint-1").exists():
        folder.rename({moved!r})
        folder.mkdir()
    return [float(len(text) % 3) for text in completions]
"""


def test_a_run_whose_folder_is_replaced_writes_nothing_into_the_other_and_goes_on_where_it_is(tmp_path, capsys):
    folder, moved, reward = tmp_path / "run", tmp_path / "moved", tmp_path / "reward.py"
    reward.write_text(MOVES.format(folder=str(folder), moved=str(moved)))
    arguments = [*TINY, "--rewards", f"{reward}:reward"]
    assert main(["train", "--output", str(folder), *arguments]) == 1
    assert f"output: {folder} was moved, removed, emptied or replaced" in capsys.readouterr().err.splitlines()[-1]
    assert list(folder.iterdir()) == []
    assert main(["train", "--output", str(moved), *arguments, "--resume"]) == 0, capsys.readouterr().err
    assert len((moved / "metrics.jsonl").read_text().splitlines()) == 2


def test_memory_that_runs_out_is_one_line(tmp_path):
    hungry = program(
        "import torch",
        "from iapo.rewards import ExactAnswer",
        "ExactAnswer.__call__ = lambda self, *_, **__: torch.empty(2**60, dtype=torch.uint8)",
    )
    rewards = "{exact: {class_path: iapo.rewards.ExactAnswer}}"
    done = run([*hungry, "train", "--output", str(tmp_path / "run"), *TINY, "--rewards", rewards])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "memory" in done.stderr.splitlines()[-1]


def test_a_reader_that_goes_away_is_no_error():
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "iapo.cli", "train", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment,
        timeout=120,
        check=False,
    )
    os.close(writer)
    assert done.stderr == b""


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "--output", str(folder), *TINY]) == 0
    (folder / "checkpoint-2" / "model.safetensors").write_bytes(b"")
    capsys.readouterr()
    assert main(["train", "--output", str(folder), "--resume", *TINY]) == 0
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning.startswith("iapo train: warning: ")
    assert "is damaged" in warning
    assert warning.endswith("taking checkpoint-1 instead")
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 2


@pytest.mark.parametrize("where", ["pipe", "full", "none"])
def test_what_nobody_hears_ends_no_command(where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if where == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
        stream = os.fdopen(writing, "w", buffering=1)
    else:
        stream = None if where == "none" else open("/dev/full", "w", buffering=1)  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        assert main(["show", str(tmp_path / "nothing here")]) == 1
        assert sys.stderr is stream
    finally:
        if stream is not None:
            stream.close()  # what waits in its buffer goes nowhere, and raises nothing
