"""Data sets of the hub, of which a local directory is one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iapo.tasks import HubTask, load_rows, task_from_source


def test_directory_loads_like_a_data_set_of_the_hub(
    tmp_path: Path, write: Callable[[str], Path], records: list[dict[str, Any]]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write("jsonl").rename(folder / "test.jsonl")
    rows = load_rows(HubTask(str(folder), "test"), prompt_column="question")
    assert [row["prompt"] for row in rows] == [record["question"] for record in records]
    assert load_rows(HubTask(str(folder), "test"), limit=2, prompt_column="question") == rows[:2]
    with pytest.raises(ValueError, match="train"):
        load_rows(HubTask(str(folder)), prompt_column="question")


def test_files_of_a_folder_that_are_not_read_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = '{"prompt": "1+1?", "answer": "2"}\n'
    for name in ("a.jsonl", ".b.csv", "__c/d.jsonl", "e/f.jsonl"):
        (tmp_path / "whole" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "whole" / name).write_text(line)
    (tmp_path / "whole" / "dataset_infos.json").write_text("{}")
    assert len(load_rows(HubTask(str(tmp_path / "whole")))) == 2
    assert not caplog.text
    (tmp_path / "whole" / "more.csv").write_text("prompt,answer\n1+2?,3\n")
    (tmp_path / "whole" / "notes.md").write_text("notes")
    assert len(load_rows(HubTask(str(tmp_path / "whole")))) == 2
    assert f"leaves out 1 of the files of {tmp_path / 'whole'}, as more.csv;" in caplog.text
    (tmp_path / "named").mkdir()
    for name in ("train.jsonl", "test.jsonl", "part2.jsonl"):
        (tmp_path / "named" / name).write_text(line)
    assert len(load_rows(HubTask(str(tmp_path / "named")))) == 1
    assert f"leaves out 1 of the files of {tmp_path / 'named'}, as part2.jsonl;" in caplog.text
    for number in range(3, 20):
        (tmp_path / "named" / f"part{number}.jsonl").write_text(line)
    caplog.clear()
    load_rows(HubTask(str(tmp_path / "named")))
    assert "leaves out 18 of the files of" in caplog.text
    assert "part14.jsonl;" in caplog.text


def test_what_save_to_disk_wrote_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"prompt": [{"role": "user", "content": "1+1?"}], "answer": "2"}]
    data = datasets.Dataset.from_list(rows)
    data.save_to_disk(tmp_path / "one")
    datasets.Dataset.from_list(rows, split="test").save_to_disk(tmp_path / "test")
    datasets.Dataset.from_list(rows, split="test[:5%]").save_to_disk(tmp_path / "slice")
    for name, split in (("halves", "test[:1]+test[2:]"), ("mixed", "test[:1]+train[:1]")):
        datasets.Dataset.from_list(rows, split=split).save_to_disk(tmp_path / name)
    datasets.DatasetDict(first=data, second=data).save_to_disk(tmp_path / "two")
    assert load_rows(task_from_source(str(tmp_path / "one"))) == rows
    assert load_rows(task_from_source(str(tmp_path / "test"), "test")) == rows
    assert load_rows(task_from_source(str(tmp_path / "slice"), "test")) == rows
    assert load_rows(task_from_source(str(tmp_path / "halves"), "test")) == rows
    with pytest.raises(ValueError, match=r"--split test .*: it has the splits \['test\[:1\]\+train\[:1\]'\]"):
        load_rows(task_from_source(str(tmp_path / "mixed"), "test"))
    assert load_rows(task_from_source(str(tmp_path / "two"), "first")) == rows
    with pytest.raises(ValueError, match=r"test cannot be loaded with --split train .*: it has the splits \['test'\]"):
        load_rows(task_from_source(str(tmp_path / "test")))
    with pytest.raises(ValueError, match=r"--split train .*: it has the splits \['first', 'second'\]"):
        load_rows(task_from_source(str(tmp_path / "two")))
    with pytest.raises(ValueError, match="--data_config hard: save_to_disk wrote it"):
        load_rows(task_from_source(str(tmp_path / "one"), config="hard"))


def test_classes_have_their_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["no", "yes"])
    features = {
        "prompt": datasets.Value("string"),
        "answer": label,
        "several": datasets.List(label),
        "inside": {"kind": label, "count": datasets.Value("int64")},
        "score": datasets.Value("float32"),
    }
    rows = [
        {"prompt": "1?", "answer": 1, "several": [0, 1], "inside": {"kind": 0, "count": 1}, "score": 0.1},
        {"prompt": "2?", "answer": 0, "several": None, "inside": {"kind": -1, "count": 0}, "score": None},
    ]
    named = [
        {"prompt": "1?", "answer": "yes", "several": ["no", "yes"], "inside": {"kind": "no", "count": 1}, "score": 0.1},
        {"prompt": "2?", "answer": "no", "several": None, "inside": {"kind": None, "count": 0}, "score": None},
    ]
    data = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    data.save_to_disk(tmp_path / "saved")
    data.to_parquet(tmp_path / "a.parquet")
    for source in ("saved", "a.parquet"):
        assert load_rows(task_from_source(str(tmp_path / source))) == named


def test_a_folder_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[str], Path], records: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    write("jsonl").rename(tmp_path / "mine" / "train.jsonl")
    assert len(load_rows(task_from_source("~/mine"), prompt_column="question")) == len(records)


def test_one_of_several_configurations_is_named(tmp_path: Path) -> None:
    (tmp_path / "easy.jsonl").write_text('{"prompt": "1", "answer": "1"}\n')
    (tmp_path / "hard.jsonl").write_text('{"prompt": "2", "answer": "2"}\n')
    configs = [f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("easy", "hard")]
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{''.join(configs)}---\n")
    assert load_rows(task_from_source(str(tmp_path), config="hard")) == [{"prompt": "2", "answer": "2"}]
    with pytest.raises(ValueError, match=r"no --data_config: .*easy.*hard"):
        load_rows(task_from_source(str(tmp_path)))
    with pytest.raises(ValueError, match=r"--data_config soft: .*easy.*hard"):
        load_rows(task_from_source(str(tmp_path), config="soft"))
    with pytest.raises(ValueError, match=r"--split test and --data_config hard: .*train"):
        load_rows(task_from_source(str(tmp_path), "test", "hard"))
    with pytest.raises(ValueError, match="data_config: got 'hard', but embedded is no data set of the hub"):
        task_from_source("embedded", config="hard")


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"iapo\[train\]"):
        load_rows(HubTask("some/dataset"))
