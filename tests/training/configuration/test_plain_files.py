"""Components from plain files: found by file and name, recorded by their path; what is wrong with a file is named."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from iapo.cli import main
from iapo.comparison.running.settings import instantiate, resolve
from iapo.training.configuration.parser import train_parser
from iapo.training.configuration.plain_files import (
    arguments_to_import_paths,
    digests,
    import_path,
    to_files,
    to_import_paths,
)

CONTENT = """
from dataclasses import dataclass
import beside
from iapo import AdvantageAssigner, Sampler, Task

def score(completions):
    return [beside.VALUE for _ in completions]

class Numbers(Task):
    def rows(self, split="train", seed=0, limit=None):
        return [{"prompt": f"{i % 9}+{i // 9}=", "answer": str(i)} for i in range(40)][:limit]

@dataclass(frozen=True)
class Priced(AdvantageAssigner):
    price: float = 0.01
    def assign(self, inputs):
        raise NotImplementedError

def make(model, tokenizer) -> Sampler:
    raise NotImplementedError
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of components, with another beside it, which no earlier test has imported."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    (tmp_path / "beside.py").write_text("VALUE = 0.5\n")
    path = tmp_path / "my file-2.py"
    path.write_text(CONTENT)
    return path


def test_all_flags_of_components_take_a_file(file: Path) -> None:
    flags = [f"--task={file}:Numbers", "--assigner", f"{file}:Priced", "--assigner.price", "0.5"]
    parser = train_parser()
    parsed = parser.parse_args([*flags, "--rewards", f"{file}:score", "--sampler", f"{file}:make"])
    parts = parser.instantiate(parsed)
    assert parts.task.rows(limit=1) == [{"prompt": "0+0=", "answer": "0"}]
    assert parts.assigner.price == 0.5
    assert parts.rewards["score"](["x"]) == [0.5]
    plain = json.loads(parser.dump(parsed, format="json", skip_unset=False))
    assert plain["task"] == {"class_path": f"{file}:Numbers"}
    assert plain["rewards"] == {"score": f"{file}:score"}
    assert plain["sampler"] == f"{file}:make"
    before = digests(plain)
    assert list(before) == sorted([str(file), str(file.parent / "beside.py")])
    file.write_text(CONTENT + "#")
    assert digests(plain) != before


def test_a_file_that_is_named_without_a_component_has_a_digest(file: Path) -> None:
    plain = {"rewards": {"mine": {"class_path": "iapo.rewards.IsolatedReward", "init_args": {"file": str(file)}}}}
    before = digests([plain, "no/such/file.py", f"a {file} b.py", "x" * 5000 + ".py"])
    assert list(before) == [str(file)]
    file.write_text(CONTENT + "#")
    assert digests(plain).keys() == before.keys()
    assert digests(plain) != before


def test_settings_that_name_a_file_come_back_from_yaml_and_in_comparisons(file: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f'rewards: "{file}:score"\nassigner: {{class_path: "{file}:Priced"}}\n')
    parser = train_parser()
    parts = parser.instantiate(parser.parse_args(["--config", str(tmp_path / "c.yaml")]))
    assert parts.rewards["score"](["x"]) == [0.5]
    settings = resolve([f"--config={tmp_path / 'c.yaml'}", "--assigner.price=0.25"], "base")
    assert settings["assigner"] == {"class_path": f"{file}:Priced", "init_args": {"price": 0.25}}
    assert instantiate(settings)["assigner"].price == 0.25


def test_texts_that_name_no_file_stay() -> None:
    arguments = [
        "train",
        "--data",
        "a.jsonl",
        "--prompt_template",
        "a.py: {prompt}",
        "--rewards.x",
        "p.f",
        "--resume",
    ]
    assert arguments_to_import_paths(arguments) == arguments
    assert arguments_to_import_paths(["--rewards=pkg.mod.f"]) == ["--rewards={f: pkg.mod.f}"]
    assert arguments_to_import_paths(["--rewards", "{a: pkg.f}"]) == ["--rewards", "{a: pkg.f}"]
    assert to_import_paths({"a": ["x", 1, None]}) == {"a": ["x", 1, None]}
    assert to_files("nothing.here") == "nothing.here"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "score", r"my\.py:score: no file .*my\.py"),
        ("def score(): ...", "scor", r"my\.py has no 'scor', it has \['score'\]"),
        ("x = 1\nimport nothing_of_this_name", "f", r"my\.py, line 2: ModuleNotFoundError: No module named"),
        ("x = 1\n\ndef f(:", "f", r"my\.py, line 3: SyntaxError"),
        ("def f():\n    raise KeyError('x')\nf()", "f", r"my\.py, line 2: KeyError"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, content: str | None, name: str, message: str) -> None:
    if content is not None:
        (tmp_path / "my.py").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        import_path(f"{tmp_path / 'my.py'}:{name}")
    assert "\n" not in str(caught.value)


def test_a_component_of_another_kind_is_refused_by_its_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--assigner", f"{file}:Numbers"]) == 2
    assert f"{file}:Numbers does not correspond to a subclass of AdvantageAssigner" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_records_the_file_and_is_not_resumed_with_another(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny: list[Any] = ["--steps", "1", "--prompts_per_step", "2", "--group_size", "2", "--sampler.max_new_tokens", "4"]
    tiny += ["--eval_problems", "2", "--eval_samples", "1", "--diagnose", "0", "--output", str(tmp_path / "run")]
    command = ["train", "--task", f"{file}:Numbers", "--rewards", f"{file}:score", "--assigner", "GroupRelative", *tiny]
    assert main(command) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    imported = file.with_name("beside.py")
    assert list(config["files"]) == sorted([str(file), str(imported)])
    (tmp_path / "run" / "report.md").unlink()
    for changed in (file, imported):
        content = changed.read_text()
        changed.write_text(content + "#")
        capsys.readouterr()
        assert main([*command, "--resume"]) == 1
        assert f"files.{changed}: saved" in capsys.readouterr().err
        changed.write_text(content)
