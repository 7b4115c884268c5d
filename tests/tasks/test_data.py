"""Problems from every kind of source, splits that do not overlap, batches that resume."""

import csv
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from iapo.embedded import model_path
from iapo.tasks.data import PromptStream, hold_out, load_rows, render_prompts

os.environ["HF_DATASETS_OFFLINE"] = "1"

RECORDS = [{"question": f"{i}+{i}?", "answer": f"{i} and {i} #### {2 * i}", "level": i} for i in range(5)]
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets are cached in a folder of the test."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write(folder: Path, kind: str) -> Path:
    path = folder / f"problems.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    elif kind == "json":
        path.write_text(json.dumps(RECORDS))
    elif kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(RECORDS[0]))
            writer.writeheader()
            writer.writerows(RECORDS)
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_local_files(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    rows = load_rows(str(path), prompt_column="question")
    records = [{**record, "level": str(record["level"])} for record in RECORDS] if kind == "csv" else RECORDS
    assert rows == [{**record, "prompt": record["question"]} for record in records]
    assert load_rows(str(path), limit=2, prompt_column="question") == rows[:2]
    assert load_rows(str(path), limit=99, prompt_column="question") == rows


def test_directory_data_set_loads_like_one_of_the_hub(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder, "jsonl").rename(folder / "test.jsonl")
    rows = load_rows(str(folder), split="test", prompt_column="question")
    assert [row["prompt"] for row in rows] == [record["question"] for record in RECORDS]
    with pytest.raises(ValueError, match="train"):
        load_rows(str(folder), split="train", prompt_column="question")


def test_missing_column_is_named_with_those_there(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl")
    with pytest.raises(ValueError, match=r"no column \['prompt'\], it has \['answer', 'level', 'question'\]"):
        load_rows(str(path))
    with pytest.raises(ValueError, match=r"no column \['solution'\]"):
        load_rows(str(path), prompt_column="question", answer_column="solution")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"prompt": "1", "answer": "1"}\n{"answer": "2"}', r"no column \['prompt'\], it has .* \(row 1\)"),
        ("a.jsonl", '{"prompt": "1", "answer": "1"}\n\n{"prom', r"line 3 of .*a\.jsonl is no JSON"),
        ("a.jsonl", '{"prompt": "1", "answer": null}', r"nothing in \['answer'\] of row 0"),
        ("a.jsonl", '{"prompt": "", "answer": "1"}', r"nothing in \['prompt'\] of row 0"),
        ("a.jsonl", '{"prompt": [], "answer": "1"}', r"nothing in \['prompt'\] of row 0"),
        ("a.jsonl", "[1]", "something else than one object per row"),
        ("a.json", '{"prompt": "1", "answer": "1"}', "something else than one object per row"),
        ("a.csv", "prompt,answer\n1,2\n3\n", r"nothing in \['answer'\] of row 1"),
        ("a.jsonl", "", "has no rows"),
        ("a.csv", "", "has no rows"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_rows(str(tmp_path / name))


def test_csv_fields_stay_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('prompt,answer\n007,NA\n"a\n""b""",1e3\n')
    assert load_rows(str(tmp_path / "a.csv")) == [
        {"prompt": "007", "answer": "NA"},
        {"prompt": 'a\n"b"', "answer": "1e3"},
    ]


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "1\\ud800", "answer": "\\udfff\\u0000"}')
    assert load_rows(str(tmp_path / "a.jsonl")) == [{"prompt": "1?", "answer": "?\0"}]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.jsonl"):
        load_rows(str(tmp_path / "nothing.jsonl"))


def test_embedded_problems() -> None:
    rows = load_rows("embedded", limit=7, seed=3)
    assert len(rows) == 7
    assert set(rows[0]) == {"prompt", "answer", "difficulty"}
    assert rows == load_rows("embedded", limit=7, seed=3)
    assert rows != load_rows("embedded", limit=7, seed=4)


def test_reasoning_gym_entries_score_their_own_answers() -> None:
    gym = pytest.importorskip("reasoning_gym")
    rows = load_rows("reasoning-gym:chain_sum", limit=4, seed=3)
    assert rows == load_rows("reasoning-gym:chain_sum", limit=4, seed=3)
    assert rows != load_rows("reasoning-gym:chain_sum", limit=4, seed=4)
    score = gym.get_score_answer_fn("chain_sum")
    for row in rows:
        entry = json.loads(row["entry"])
        assert entry["question"] == row["prompt"]
        assert score(row["answer"], entry) == 1
        assert score("no number", entry) < 1


def test_reasoning_gym_without_a_single_answer_and_with_entries_that_are_no_json() -> None:
    pytest.importorskip("reasoning_gym")
    assert load_rows("reasoning-gym:graph_color", limit=1)[0]["answer"] == ""
    with pytest.raises(ValueError, match="reasoning-gym:rearc do not survive as JSON"):
        load_rows("reasoning-gym:rearc", limit=1)


def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(ModuleNotFoundError, match=r"iapo\[train\]"):
        load_rows("some/dataset")
    with pytest.raises(ModuleNotFoundError, match=r"iapo\[tasks\]"):
        load_rows("reasoning-gym:chain_sum")


prompts = st.lists(st.text(max_size=2) | st.just([{"role": "user", "content": "hi"}]), min_size=2, max_size=30)


@given(prompts, st.data())
def test_held_out_prompts_are_on_one_side_whatever_order_and_copies(texts: list[object], data: st.DataObject) -> None:
    rows = [{"prompt": text, "answer": "1"} for text in texts]
    distinct = {json.dumps(text) for text in texts}
    count = data.draw(st.integers(0, len(distinct) + 1))
    if count >= len(distinct):
        with pytest.raises(ValueError, match=f"got {count}, want fewer than the {len(distinct)}"):
            hold_out(rows, count)
        return
    training, held = hold_out(rows, count)
    sides = [{json.dumps(row["prompt"]) for row in side} for side in (training, held)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == distinct
    assert len(held) == count == len(sides[1])
    assert [row for row in rows if row in training] == training
    shuffled = data.draw(st.permutations(rows + rows))
    assert hold_out(shuffled, count)[1] == held


@given(st.integers(1, 12), st.integers(0, 3), st.data())
def test_stream_covers_epochs_and_resumes_anywhere(size: int, seed: int, data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, size))
    rows = [{"prompt": str(i)} for i in range(size)]
    stream, taken = PromptStream(rows, batch, seed), []
    per_epoch = size // batch
    stop = data.draw(st.integers(0, 3 * per_epoch))
    state: dict[str, int] = {}
    for index in range(3 * per_epoch + 2):
        if index == stop:
            state = json.loads(json.dumps(stream.state()))
        taken.append(stream.next())
    for epoch in range(3):
        seen = [row["prompt"] for part in taken[epoch * per_epoch : (epoch + 1) * per_epoch] for row in part]
        assert len(set(seen)) == len(seen) == per_epoch * batch
    resumed = PromptStream(rows, batch, seed)
    resumed.restore(state)
    assert [resumed.next() for _ in taken[stop:]] == taken[stop:]


def test_other_rows_are_noticed_on_resuming() -> None:
    rows = [{"prompt": str(i)} for i in range(5)]
    stream = PromptStream(rows, 2, 0)
    stream.next()
    other = PromptStream([*rows[:4], {"prompt": "5"}], 2, 0)
    with pytest.raises(ValueError, match="the rows are others"):
        other.restore(stream.state())
    other.restore(stream.state(), override=True)
    assert other.state()["position"] == 1


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    rows = [{"prompt": str(i)} for i in range(20)]
    stream = PromptStream(rows, 20, 0)
    first, second = stream.next(), stream.next()
    assert first != second
    assert PromptStream(rows, 20, 1).next() != first
    assert PromptStream(rows, 20, 0).next() == first


@pytest.mark.parametrize("batch", [0, 4])
def test_batch_must_fit_the_data(batch: int) -> None:
    with pytest.raises(ValueError, match=f"got {batch}, want 1 to the number of problems, 3"):
        PromptStream([{"prompt": "a"}] * 3, batch, 0)


def test_rendering() -> None:
    plain, chat = (AutoTokenizer.from_pretrained(model_path()) for _ in range(2))
    chat.chat_template = TEMPLATE
    text, messages = (
        [{"prompt": "2+2", "answer": "4"}],
        [{"prompt": [{"role": "user", "content": "hi"}], "answer": "x"}],
    )

    def rendered(*arguments: object) -> str:
        rows = render_prompts(*arguments)  # type: ignore[arg-type]
        assert set(rows[0]) == {"prompt", "answer"}
        return rows[0]["prompt"]

    assert rendered(text, plain) == rendered(text, chat) == "2+2"
    assert rendered(text, plain, "Think.") == "Think.\n\n2+2"
    assert rendered(text, chat, "Think.") == "<system>Think.<user>2+2<a>"
    assert rendered(text, chat, "") == "<user>2+2<a>"
    assert rendered(text, plain, "") == "2+2"
    assert rendered(messages, chat) == "<user>hi<a>"
    assert rendered(messages, chat, "Think.") == "<system>Think.<user>hi<a>"
    assert rendered(text, plain, None, r"{prompt}={0}{prompt.__class__} \boxed{}") == (
        r"2+2={0}{prompt.__class__} \boxed{}"
    )
    assert messages[0]["prompt"] == [{"role": "user", "content": "hi"}]
    with pytest.raises(ValueError, match="no chat template"):
        rendered(messages, plain)
    with pytest.raises(ValueError, match="prompt_template: got 'x'"):
        rendered(text, plain, None, "x")
