"""What is evaluated was never trained on: train, eval and compare split problems alike, whatever the flags."""

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from iapo.cli import main
from iapo.comparison.running.problems import choose_problems
from iapo.comparison.running.settings import resolve
from iapo.embedded import model_path
from iapo.ops.tree import flatten
from iapo.policy import load_model
from iapo.tasks import hold_out
from iapo.tasks.messages import problem_of
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.trained_problems import export_settings, warn_of_trained

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
COUNT, HELD = 30, 12
STYLE = ["--answer_style", "tags", "--reasoning_style", "tags"]


class _Stop(Exception):  # noqa: N818
    pass


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model with a chat template."""
    folder = tmp_path_factory.mktemp("chat")
    model, tokenizer = load_model("embedded")
    tokenizer.chat_template = CHAT
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The prompts that a command trains or evaluates on; it ends there."""
    found: dict[str, list[str]] = {}

    def stream(rows: list[dict[str, Any]], batch: int, seed: int) -> None:
        found["train"] = [row["prompt"] for row in rows]
        raise _Stop

    def evaluate(rows: list[dict[str, Any]], **options: Any) -> None:
        found["eval"] = [row["prompt"] for row in rows]
        raise _Stop

    monkeypatch.setattr("iapo.training.setup.setting_up.PromptStream", stream)
    monkeypatch.setattr("iapo.commands.evaluate.evaluate", evaluate)
    return found


def numbers_in(prompts: list[str]) -> set[str]:
    """Every prompt has one number in brackets, which names its problem."""
    return {prompt.partition("[")[2].partition("]")[0] for prompt in prompts}


def write(path: Path, form: str) -> str:
    """Problems, each twice; of messages, the second time with a system message."""
    rows = []
    for number in range(COUNT):
        text = f"3+8-[{number}]="
        message = {"role": "user", "content": text}
        forms = {
            "text": [text, f" {text}\n"],
            "messages": [[message], [{"role": "system", "content": "Be brief."}, message]],
            "solved": [[message, {"role": "assistant", "content": answer}] for answer in ("1", "2")],
        }
        rows += [{"prompt": prompt, "answer": "1"} for prompt in forms[form]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("form", "flags"),
    [
        ("text", []),
        ("text", ["--system_prompt", "Think.", "--prompt_template", "Q: {prompt}"]),
        ("messages", ["--system_prompt", "Think.", "--prompt_template", "Q: {prompt}"]),
        ("solved", ["--last_assistant", "drop"]),
    ],
)
def test_nothing_that_is_evaluated_was_trained_on(
    tmp_path: Path, chat_model: str, seen: dict[str, list[str]], form: str, flags: list[str]
) -> None:
    data = ["--data", write(tmp_path / "a.jsonl", form), *flags, "--sampler.max_new_tokens", "8", *STYLE]
    assert (
        main(["train", "--model", chat_model, *data, "--eval_problems", str(HELD), "--output", str(tmp_path / "run")])
        == 1
    )
    assert (
        main(["eval", "--models", f"[{chat_model}]", *data, "--problems", str(HELD), "--samples", "1", "--ks", "[1]"])
        == 1
    )
    trained, evaluated = numbers_in(seen["train"]), numbers_in(seen["eval"])
    assert not trained & evaluated
    assert (len(seen["train"]), len(seen["eval"])) == (2 * (COUNT - HELD), HELD)
    assert len(trained | evaluated) == COUNT
    line = [f"{flag}={value}" for flag, value in zip(data[::2], data[1::2], strict=True)]
    chosen = choose_problems(resolve([f"--model={chat_model}", *line], "base"), {"test": HELD}, 0, (0,))
    assert numbers_in([problem_of(row["prompt"]) for row in chosen["test"]]) == evaluated


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_dropped_for_its_length_does_not_move_the_split(
    tmp_path: Path, seen: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"3+8-[{n}]={'+' * (n * 5)}", "answer": "1"} for n in range(COUNT)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    train = ["train", "--data", str(tmp_path / "a.json"), "--eval_problems", str(HELD), "--output", str(tmp_path / "r")]
    train += ["--prompts_per_step", "2"]
    evaluation = ["eval", "--data", str(tmp_path / "a.json"), "--problems", str(HELD), "--samples", "1", *STYLE]
    assert main([*train, "--sampler.max_new_tokens", "150"]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "positions of the model" in message
    drop = ["--long_prompts", "drop", "--sampler.max_new_tokens"]
    assert main([*train, *drop, "150"]) == 1
    for most in ("8", "200"):
        assert main([*evaluation, "--ks", "[1]", *drop, most]) == 1
        assert not numbers_in(seen["train"]) & numbers_in(seen["eval"])
    assert len(seen["train"]) < COUNT - HELD


@pytest.mark.filterwarnings("default:problems:UserWarning")
@pytest.mark.parametrize(
    ("problems", "limit", "told"),
    [(HELD, None, 0), (HELD + 5, None, 5), (HELD, 2 * HELD + 6, "[1-9][0-9]?")],
)
def test_problems_that_a_model_was_trained_on_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], problems: int, limit: int | None, told: int | str
) -> None:
    data = ["--data", write(tmp_path / "a.jsonl", "text"), "--sampler.max_new_tokens", "2", *STYLE]
    size = ["--prompts_per_step", "1", "--group_size", "2", "--eval_samples", "1", "--diagnose", "0"]
    train = ["train", *data, *size, "--steps", "1", "--eval_problems", str(HELD)]
    assert main([*train, "--output", str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), "--output", str(tmp_path / "exported")]) == 0
    models = f"[{tmp_path / 'run' / 'checkpoint-1'}, {tmp_path / 'exported'}]"
    evaluation = ["eval", "--models", models, *data, "--problems", str(problems), "--samples", "1", "--budgets", "[]"]
    assert main([*evaluation, *([] if limit is None else ["--limit", str(limit)])]) == 0
    message = capsys.readouterr().err
    assert message.count("trained on") == 2 * (told != 0)
    found = re.findall(
        f"(checkpoint-1|exported) was trained on {told} of these {problems}; its run held out {HELD}", message
    )
    assert found == ([] if told == 0 else ["checkpoint-1", "exported"])


def run_of(folder: Path, data: str | list[str], model: str = "embedded", **changed: Any) -> str:
    """A checkpoint of a run as far as its settings are read; the policy is the embedded one."""
    settings = {"task": None, "split": "train", "data_config": None, "limit": None, "prompt_column": "prompt"}
    settings |= {"answer_column": "answer", "few_shot": 0, "last_assistant": "refuse", "seed": 0, "eval_problems": HELD}
    checkpoint = folder / "checkpoint-1"
    shutil.copytree(model_path(), checkpoint)
    config, _ = flatten(settings | {"data": data, "model": model} | changed, "config")
    (checkpoint / "state.json").write_text(json.dumps({"config": config}))
    return str(checkpoint)


def told(model: str, data: str | list[str], count: int = HELD) -> list[str]:
    source = ProblemSource(data)
    held_out = hold_out(source.load(0), count)[1]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn_of_trained(model, source, held_out, "problems")
    return [str(each.message) for each in found]


def test_problems_in_other_files_are_told(tmp_path: Path) -> None:
    """A copy of the data, or some of them, in which other problems are held out."""
    model = run_of(tmp_path / "run", write(tmp_path / "a.jsonl", "text"))
    copy = shutil.copy(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert told(model, str(copy)) == [], "the same ones are held out"
    lines = (tmp_path / "a.jsonl").read_text().splitlines(keepends=True)
    some = tmp_path / "c.jsonl"
    some.write_text("".join(lines[: 2 * HELD + 2]))
    (message,) = told(model, str(some))
    assert re.search(f"checkpoint-1 was trained on [0-9]+ of these {HELD}; its run had .*a.jsonl; leave these", message)
    (tmp_path / "a.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    (message,) = told(model, str(some))
    unknown = rf"whether .*checkpoint-1 was trained on some of these {HELD} is not known: its run had .*a.jsonl, which"
    assert re.search(unknown, message)
    (tmp_path / "a.jsonl").unlink()
    (message,) = told(model, str(some))
    assert re.search(unknown, message)


def test_problems_of_a_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    data = write(tmp_path / "parts" / "train.jsonl", "text")
    (message,) = told(run_of(tmp_path / "run", str(tmp_path / "parts"), eval_problems=HELD - 4), data)
    assert f"checkpoint-1 was trained on 4 of these {HELD}" in message


@pytest.mark.parametrize("form", ["pattern", "list"])
def test_problems_of_several_files_are_told(tmp_path: Path, form: str) -> None:
    lines = Path(write(tmp_path / "all.jsonl", "text")).read_text().splitlines(keepends=True)
    for number in range(3):
        (tmp_path / f"part-{number}.jsonl").write_text("".join(lines[number::3]))
    data = str(tmp_path / "part-*.jsonl") if form == "pattern" else [str(each) for each in tmp_path.glob("part-*")]
    model = run_of(tmp_path / "run", data, eval_problems=HELD - 4)
    (message,) = told(model, data)
    assert f"was trained on 4 of these {HELD}; its run held out {HELD - 4}, so that --problems" in message
    (message,) = told(model, str(tmp_path / "all.jsonl"))
    assert re.search(rf"was trained on 4 of these {HELD}; its run had /.*part-.*jsonl; leave these", message)
    assert told(model, data, HELD - 4) == []
    (tmp_path / "part-1.jsonl").unlink()
    (message,) = told(model, str(tmp_path / "all.jsonl"))
    if form == "list":
        assert re.search(r"is not known: its run had /.*part-1.jsonl.*, which is gone", message)
    for each in tmp_path.glob("part-*"):
        each.unlink()
    (message,) = told(model, str(tmp_path / "all.jsonl"))
    assert re.search(r"is not known: its run had /.*part-.*jsonl, which is gone", message)


@pytest.mark.parametrize("changed", [{"data": "openai/gsm8k"}, {"data": "embedded"}, {"task": "mine.Task"}])
def test_what_is_in_no_file_says_nothing(tmp_path: Path, changed: dict[str, str]) -> None:
    model = run_of(tmp_path / "run", **{"data": "gone.jsonl"} | changed)
    assert told(model, write(tmp_path / "a.jsonl", "text")) == []


def test_a_checkpoint_knows_its_problems_wherever_it_is_moved(tmp_path: Path) -> None:
    """It was known from a file beside it alone, and problems that it was trained on were evaluated without a word."""
    data = write(tmp_path / "a.jsonl", "text")
    moved = shutil.move(run_of(tmp_path / "run", data, eval_problems=HELD - 4), tmp_path / "best")
    (message,) = told(str(moved), data)
    assert f"best was trained on 4 of these {HELD}" in message
    (tmp_path / "best" / "state.json").write_text('{"config": {"list": []}}')
    assert told(str(moved), data) == []


def test_a_model_knows_what_those_knew_that_it_was_trained_from(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", "text")
    first = run_of(tmp_path / "first", data, eval_problems=HELD - 4)
    second = run_of(tmp_path / "second", data, first)
    third = run_of(tmp_path / "third", data, second, eval_problems=HELD)
    (message,) = told(third, data)
    assert f"problems: {first}, from which {third} was trained, was trained on 4 of these {HELD}; " in message
    assert f"--problems {HELD - 4} " in message
    exported = tmp_path / "exported"
    exported.mkdir()
    export_settings(Path(second), exported)
    (exported / "model.gguf").touch()
    (message,) = told(str(exported / "model.gguf"), data)
    assert f"{first}, from which {exported / 'model.gguf'} was trained, was trained on 4 " in message
    circle = run_of(tmp_path / "circle", data, str(tmp_path / "circle" / "checkpoint-1"))
    assert told(circle, data) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_a_trained_model_tells_too(tmp_path: Path, seen: dict[str, list[str]], capsys: Any) -> None:
    """The report of the second run is of problems that the first one trained on."""
    data = write(tmp_path / "a.jsonl", "text")
    model = run_of(tmp_path / "run", data)
    train = ["train", "--model", model, "--data", data, "--prompts_per_step", "2", "--output", str(tmp_path / "second")]
    train += [*STYLE, "--sampler.max_new_tokens", "8", "--eval_problems"]
    warnings.simplefilter("default")
    assert main([*train, str(HELD)]) == 1
    assert "was trained on" not in capsys.readouterr().err
    assert main([*train, str(HELD + 3)]) == 1
    message = capsys.readouterr().err
    assert f"eval_problems: {model} was trained on 3 of these {HELD + 3}; its run held out {HELD}" in message
    assert f"--eval_problems {HELD} " in message


def test_other_references_of_what_is_held_out_are_noticed_on_resuming(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The evaluation before training would be of other references than the one behind it."""
    data = tmp_path / "a.json"
    rows = [{"prompt": f"3+8-[{number}]=", "answer": "1"} for number in range(COUNT)]
    held = {row["prompt"] for row in hold_out(rows, HELD)[1]}
    size = ["--prompts_per_step", "1", "--group_size", "2", "--eval_samples", "1", "--diagnose", "0", *STYLE]
    train = ["train", "--data", str(data), *size, "--sampler.max_new_tokens", "2", "--eval_problems", str(HELD)]
    train += ["--output", str(tmp_path / "run"), "--steps"]
    data.write_text(json.dumps(rows))
    assert main([*train, "1"]) == 0
    data.write_text(json.dumps([{**row, "answer": "2"} if row["prompt"] in held else row for row in rows]))
    assert main([*train, "2", "--resume"]) == 1
    assert re.search("these differ .*: held_out_rows: saved [0-9]+, now [0-9]+", capsys.readouterr().err)
