"""Problems in several files: lists and patterns, their order, and which of them an error names."""

import json
from pathlib import Path
from typing import Any

import pytest

from iapo.tasks import FilesTask, FileTask, HubTask, RowPlace, Task, load_rows, task_from_source


def shard(path: Path, *prompts: str, **more: Any) -> Path:
    """A file of JSON lines with these prompts, each its own answer."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps({"prompt": text, "answer": text} | more) + "\n" for text in prompts))
    return path


def prompts(source: str | list[str], **options: Any) -> list[str]:
    return [row["prompt"] for row in load_rows(task_from_source(source), **options)]


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three files, written in another order than that of their names; it is the working directory."""
    for name in ("b-1", "b-0", "a"):
        shard(tmp_path / f"{name}.jsonl", f"{name}.0", f"{name}.1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("b-*.jsonl", ["b-0", "b-1"]),
        ("*.jsonl", ["a", "b-0", "b-1"]),
        ("b-[0]?jsonl", ["b-0"]),
        ("**/*.jsonl", ["a", "b-0", "b-1"]),
        (["b-1.jsonl", "a.jsonl"], ["b-1", "a"]),
        (["b-*.jsonl", "a.jsonl"], ["b-0", "b-1", "a"]),
        (["a.jsonl"], ["a"]),
    ],
)
def test_files_come_in_the_order_of_the_names_and_those_of_a_pattern_sorted(
    shards: Path, monkeypatch: pytest.MonkeyPatch, source: str | list[str], files: list[str]
) -> None:
    import iapo.tasks.files as module

    found = module.glob
    monkeypatch.setattr(module, "glob", lambda *args, **options: found(*args, **options)[::-1])  # as a disk may have it
    assert prompts(source) == [f"{name}.{row}" for name in files for row in (0, 1)]
    whole = source if isinstance(source, str) else [str(shards / name) for name in source]
    assert prompts(whole) == prompts(source)


def test_a_home_folder_is_that_of_the_user(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(shards))
    assert prompts("~/b-*.jsonl") == prompts(["~/b-0.jsonl", "~/b-1.jsonl"]) == prompts("b-*.jsonl")


def test_files_may_be_of_several_kinds_and_folders_are_passed_over(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    shard(tmp_path / "1.jsonl", "1+1?")
    (tmp_path / "2.csv").write_text("prompt,answer\n2+2?,007\n")
    parquet.write_table(pyarrow.table({"prompt": ["3+3?"], "answer": [6]}), tmp_path / "3.parquet")
    shard(tmp_path / "4" / "x.jsonl", "inside")
    assert [row["answer"] for row in load_rows(FilesTask((f"{tmp_path}/*",)))] == ["1+1?", "007", 6]
    assert prompts(f"{tmp_path}/**/*.jsonl") == ["1+1?", "inside"]


def test_the_limit_is_that_of_all_files_and_others_are_not_read(shards: Path) -> None:
    (shards / "b-1.jsonl").write_text("no JSON")
    assert prompts("*.jsonl", limit=3) == ["a.0", "a.1", "b-0.0"]
    assert prompts("*.jsonl", limit=4) == ["a.0", "a.1", "b-0.0", "b-0.1"]
    with pytest.raises(ValueError, match=r"line 1 of b-1\.jsonl is no JSON"):
        prompts("*.jsonl", limit=5)


def test_columns_that_some_files_lack_are_told_of_all_rows(shards: Path, caplog: pytest.LogCaptureFixture) -> None:
    shard(shards / "b-1.jsonl", "b-1.0", hint="h")
    rows = load_rows(task_from_source("*.jsonl"))
    assert [row["hint"] for row in rows] == [None] * 4 + ["h"]
    assert "of the 5 rows of *.jsonl some lack columns, which are None there: {'hint': 4}" in caplog.text


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("prompt\n", r"line 2 of b-0\.jsonl is no JSON"),
        ('{"question": "?"}\n', r"row 3 \(line 2 of b-0\.jsonl\)"),
        ('{"prompt": null, "answer": "1"}\n', r"nothing in \['prompt'\] of row 3 \(line 2 of b-0\.jsonl\)"),
        ('{"prompt": 5, "answer": "1"}\n', r"the prompt of row 3 \(line 2 of b-0\.jsonl\) of \*\.jsonl is of type int"),
    ],
)
def test_an_error_names_the_file_and_its_line(shards: Path, broken: str, message: str) -> None:
    (shards / "b-0.jsonl").write_text('{"prompt": "1?", "answer": "1"}\n' + broken)
    with pytest.raises(ValueError, match=message):
        prompts("*.jsonl")


def test_a_row_without_a_line_has_its_number_in_the_file(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for name in ("a", "b"):
        parquet.write_table(pyarrow.table({"prompt": ["1?", "2?"], "answer": ["1", "2"]}), tmp_path / f"{name}.parquet")
    task = FilesTask((f"{tmp_path}/*.parquet",))
    assert str(RowPlace(task, 3)) == f"3 (row 1 of {tmp_path}/b.parquet) of {tmp_path}/*.parquet"


def test_an_empty_file_is_told_and_so_is_that_all_are_empty(shards: Path, caplog: pytest.LogCaptureFixture) -> None:
    (shards / "a.jsonl").write_text("\n")
    assert prompts("*.jsonl") == ["b-0.0", "b-0.1", "b-1.0", "b-1.1"]
    assert "1 of the 3 files of *.jsonl have no rows, as a.jsonl" in caplog.text
    assert str(RowPlace(task_from_source("*.jsonl"), 0)) == "0 (line 1 of b-0.jsonl) of *.jsonl"
    for name in ("b-0", "b-1"):
        (shards / f"{name}.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"data: \*\.jsonl has no rows"):
        prompts("*.jsonl")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("c-*.jsonl", FileNotFoundError, r"no file matches c-\*\.jsonl in /"),
        ("/nowhere/*.jsonl", FileNotFoundError, r"no file matches /nowhere/\*\.jsonl$"),
        (["a.jsonl", "c-*.jsonl"], FileNotFoundError, r"no file matches c-\*\.jsonl"),
        (["a.jsonl", "c.jsonl"], FileNotFoundError, r"no file c\.jsonl; a list has files"),
        (["a.jsonl", "openai/gsm8k"], FileNotFoundError, "no file openai/gsm8k; a list has files"),
        (["a.jsonl", "folder"], FileNotFoundError, r"folder is a folder; .* patterns such as folder/\*\.jsonl"),
        (["a.jsonl", "b.txt"], ValueError, r"the ending of b\.txt does not say"),
        ("*", ValueError, r"the ending of b\.txt does not say"),
        (["a.jsonl", "./a.jsonl"], ValueError, r"a\.jsonl and a\.jsonl, which are one file; want each file once"),
        (["a.jsonl", "*.jsonl"], ValueError, r"a\.jsonl \(and 1 more\) has a\.jsonl and a\.jsonl, which are one file"),
        (["a.jsonl", "link.jsonl"], ValueError, r"has a\.jsonl and link\.jsonl, which are one file"),
    ],
)
def test_what_is_not_there_or_there_twice_is_named(
    shards: Path, source: str | list[str], error: type[Exception], message: str
) -> None:
    (shards / "b.txt").write_text("x")
    (shards / "folder").mkdir()
    if "link" in message:
        (shards / "link.jsonl").symlink_to(shards / "a.jsonl")
    with pytest.raises(error, match=f"^data: .*{message}"):
        prompts(source)


def test_that_a_file_is_missing_is_said_before_any_is_read(shards: Path) -> None:
    (shards / "a.jsonl").write_text("no JSON")
    with pytest.raises(FileNotFoundError, match=r"no file c\.jsonl"):
        prompts(["a.jsonl", "c.jsonl"], limit=1)


@pytest.mark.parametrize("name", ["a[1].jsonl", "b*.jsonl", "what?.jsonl"])
def test_a_file_of_that_very_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    shard(tmp_path / name, "mine")
    for other in ("a1.jsonl", "bc.jsonl", "whatx.jsonl"):
        shard(tmp_path / other, "other")
    source = str(tmp_path / name)
    assert task_from_source(source) == FileTask(source)
    assert prompts(source) == ["mine"]
    assert prompts([source, str(tmp_path / "a1.jsonl")]) == ["mine", "other"]
    (tmp_path / name).unlink()
    assert prompts(source) == ["other"]


def test_a_folder_of_that_very_name_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "v[1]").mkdir()
    assert task_from_source(str(tmp_path / "v[1]")) == HubTask(str(tmp_path / "v[1]"))


@pytest.mark.parametrize(
    ("names", "text"), [(("a.jsonl",), "a.jsonl"), (("a.jsonl", "b.csv", "*.json"), "a.jsonl (and 2 more)")]
)
def test_its_text_is_short(names: tuple[str, ...], text: str) -> None:
    assert str(FilesTask(names)) == text


@pytest.mark.parametrize("source", ["*.jsonl", ["a.jsonl", "b.jsonl"]])
def test_several_files_are_a_fixed_set(source: str | list[str]) -> None:
    task: Task = task_from_source(source)
    assert task.holds_out
    with pytest.raises(ValueError, match=r"data_config: got 'main', but .* is no data set of the hub"):
        task_from_source(source, config="main")
