"""Files as other programs write them: byte-order marks, long fields, quotes, gzip, arrays, and what is broken."""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iapo.tasks import FileTask, HubTask, RowPlace, load_rows, task_from_source

ROWS = [{"prompt": "1+1?", "answer": "2"}, {"prompt": 'say "é"', "answer": "3"}]
ARRAY = json.dumps(ROWS, indent=1)
LINES = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n\n"
TABLE = 'prompt,answer\r\n1+1?,2\r\n\r\n"say ""é""",3\r\n'


def utf8_with_mark(text: str) -> bytes:
    return text.encode("utf-8-sig")


def zipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        utf8_with_mark,
        lambda text: text.encode("utf-16"),
        zipped,
        lambda text: bz2.compress(text.encode()),
        lambda text: lzma.compress(text.encode()),
    ],
)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", ARRAY),
        ("a.json", LINES),
        ("a.jsonl", LINES),
        ("a.jsonl", ARRAY),
        ("a.ndjson", LINES),
        ("a.JSONL.gz", LINES),
        ("a.csv", TABLE),
        ("a.csv.gz", TABLE),
        ("a.csv.xz", TABLE),
        ("a.json.bz2", ARRAY),
        ("a.csv", TABLE.replace(",", ";")),
        ("a.csv", TABLE.replace(",", "\t")),
        ("a.csv", TABLE.replace(",", "|")),
        ("a.csv", TABLE.replace(",", ", ").replace("2", '"2"')),
        ("a.csv", "sep=;\r\n" + TABLE.replace(",", ";")),
        ("a.csv", '\n"SEP=^"\n\n' + TABLE.replace(",", "^")),
        ("a.tsv", TABLE.replace(",", "\t")),
    ],
)
def test_forms_of_the_same_rows(tmp_path: Path, name: str, text: str, encode: Callable[[str], bytes]) -> None:
    (tmp_path / name).write_bytes(encode(text))
    task = task_from_source(str(tmp_path / name))
    assert isinstance(task, FileTask)
    assert load_rows(task) == ROWS


@pytest.mark.parametrize("text", ['{"prompt": "1+1?", "answer": "2"}', '{\n "prompt": "1+1?",\n "answer": "2"\n}\n'])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_one_object_is_one_row(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert load_rows(FileTask(str(tmp_path / name))) == ROWS[:1]
    talk = {"prompt": [{"role": "user", "content": "hi"}], "answer": "2"}
    (tmp_path / name).write_text(json.dumps(talk))
    assert load_rows(FileTask(str(tmp_path / name))) == [talk]


def test_lines_of_files_that_were_joined_are_read(tmp_path: Path) -> None:
    lines = [f"\ufeff{json.dumps(row)}\r\n" for row in ROWS]
    (tmp_path / "a.jsonl").write_bytes("".join([*lines, "\ufeff"]).encode())
    assert load_rows(FileTask(str(tmp_path / "a.jsonl"))) == ROWS


@pytest.mark.parametrize("before", ["\n", "\r\n \r\n", ",\n", "\ufeff\n\n"])
def test_empty_lines_before_the_header_are_skipped(tmp_path: Path, before: str) -> None:
    (tmp_path / "a.csv").write_bytes((before + TABLE).encode())
    assert load_rows(FileTask(str(tmp_path / "a.csv"))) == ROWS


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("a.jsonl", '\n{"prompt": "1"}\n\n{"prompt": ""}\n', r"1 \(line 4\)"),
        ("a.json", '[{"prompt": "1"},\n{"prompt": ""}]', "1"),
        ("a.csv", '\nprompt,answer\n"1\n+1",2\n\n,3\n', r"1 \(line 6\)"),
        ("a.csv", "sep=;\nprompt;answer\n1;2\n;3\n", r"1 \(line 4\)"),
    ],
)
def test_a_row_is_named_with_its_line(tmp_path: Path, name: str, text: str, place: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name} has nothing in \['prompt'\] of row {place}$"):
        load_rows(FileTask(str(tmp_path / name)))
    assert str(RowPlace(FileTask(str(tmp_path / name)), 1)) == f"{place} of {tmp_path / name}".replace("\\", "")


fields = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).filter(
    str.strip
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(fields, fields), min_size=1, max_size=5))
def test_what_a_program_writes_as_csv_is_read_back(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("prompt", "answer"), *pairs])
    (tmp_path / "a.csv").write_bytes(file.getvalue().encode())
    assert load_rows(FileTask(str(tmp_path / "a.csv"))) == [{"prompt": p, "answer": a} for p, a in pairs]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("write", [json.dumps, repr])
def test_messages_in_a_column_of_texts(tmp_path: Path, kind: str, write: Callable[[object], str]) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    messages = [{"role": "user", "content": "What's 1+1?"}]
    row = {"prompt": write(messages), "answer": "2"}
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([row.keys(), row.values()])
    elif kind == "jsonl":
        path.write_text(json.dumps(row))
    else:
        parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    assert load_rows(FileTask(str(path))) == [{"prompt": messages, "answer": "2"}]


def test_a_field_may_be_long(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    (tmp_path / "a.csv").write_text(f"prompt,answer\n{'x' * 200_000},1\n")
    assert len(load_rows(FileTask(str(tmp_path / "a.csv")))[0]["prompt"]) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"prompt,answer\n1,2\n3\n", r"line 3 of .*a\.csv has 1 fields, want 2"),
        ("a.csv", b"prompt,answer\n1,2,3\n", r"line 2 of .* has 3 fields, want 2"),
        ("a.csv", b'prompt,answer\n1,2\n"a "b" c",2\n3,4\n', r"line 3 of .* is no CSV"),
        ("a.csv", b'prompt,answer\n1,2\n"open,2\n3,4\n', r"line 3 of .* is no CSV: unexpected end"),
        ("a.csv", b"prompt,answer,answer\n1,2,3\n", r"line 1 of .* names the columns \['answer'\] more than once"),
        ("a.csv", b"prompt,answer\n1,2\ncaf\xe9,3\n", r"line 3 of .* is no UTF-8 \(byte 0xe9\).*iconv"),
        ("a.jsonl", b'{"prompt": "1", "answer": "1"}\n[1]\n', "something else than one object per row"),
        ("a.jsonl", b'\n{"prompt": "1", "answer": "1"}\n\n"x"\n', r"line 4 of .*a\.jsonl is str, something else"),
        ("a.json", b'[{"prompt": "1"}, 3]', r"row 1 of .*a\.json is int, something else"),
        ("a.json", b'{"version": 1, "data": [{"prompt": "1"}]}', r"rows in its field 'data'.*jq -c '\.data\[\]'"),
        ("a.json", b'{\n"data": [\n{"prompt": "1"}]\n}', "rows in its field 'data'"),
        ("a.json", b'{"prompt": {"0": "1", "1": "2"}, "answer": {"0": "1", "1": "2"}}', "orient='records'"),
        ("a.json", b'{"prompt": ["1", "2"], "answer": ["1", "2"]}', "orient='records'"),
        ("a.json", b'[{"prompt": "1"},', r"a\.json is no JSON"),
        ("a.jsonl", b'{\n "prompt": "1"\n}\n{\n "prompt": "2"\n}\n', r"line 1 .*as jq -c \. writes"),
        ("a.json", b'{"prompt": "1", "answer": "1"}\n{"prompt"', r"line 2 of .*a\.json is no JSON"),
        ("a.arrow", b"\xff\xff\xff\xff\x10\x01\x00\x00", r"a\.arrow is an Arrow stream; write it as Parquet"),
        ("a.jsonl", zipped(LINES)[:-9], r"a\.jsonl is a damaged gzip"),
        ("a.jsonl", bz2.compress(LINES.encode())[:-9], r"a\.jsonl is a damaged bz2 file"),
        ("a.jsonl", lzma.compress(LINES.encode())[:-9], r"a\.jsonl is a damaged lzma file"),
        (
            "a.csv",
            b"PK\x03\x04\x14\0",
            r"a\.csv is a ZIP archive or an Excel workbook; unpack .*What is read: JS",
        ),
        ("a.parquet", b"PK\x03\x04\x14\0", r"a\.parquet is a ZIP archive"),
        ("a.jsonl", b"(\xb5/\xfd\x04", r"a\.jsonl is packed by Zstandard; unpack it with zstd -d"),
        ("a.jsonl", zipped("PAR1"), r"a\.jsonl is Parquet; give it the ending \.parquet"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS .*git lfs pull"),
        ("a.csv", TABLE.encode("utf-16-le"), r"a\.csv has zero bytes.*iconv -f utf-16le -t utf-8"),
        ("a.jsonl", b"\x80\x04\x95\x10\0\0\0", r"a\.jsonl has zero bytes.*begins with b'"),
        ("a.jsonl", b'{"prompt": "1", "prompt": "2"}', r"line 1 of .* has the columns \['prompt'\] more than once"),
        ("a.json", b'[{"prompt": "1", "prompt": "2"}]', r"row 0 of .* has the columns \['prompt'\] more than once"),
        ("a.jsonl", b"<!doctype html><p>404", r"a\.jsonl is a page of HTML; download the file itself, .* /resolve/"),
        ("a.parquet", b"<!DOCTYPE html>", r"a\.parquet is a page of HTML"),
        ("a.jsonl", zipped("x" * 257 + "ustar" + "\0" * 250), r"a\.jsonl is a TAR archive; unpack it"),
        ("a.csv", TABLE.encode() + b"\0" * 4096, r"line 5 of .*a\.csv has zero bytes.* tr -d"),
        (
            "a.jsonl",
            b'{"prompt": "1"}\n{"prompt": "2",}\n',
            r"line 2 of .* is no JSON: [^:]* at column 1[0-9]; want one",
        ),
        ("a.jsonl", b'{"prompt": "1', r"line 1 of .* is no JSON: Unterminated string starting at column 12; want one"),
        ("a.csv", b"# mine\nprompt,answer\n1,2\n", r"line 2 of .* has 2 fields, want 1 as in its header, line 1$"),
        ("a.parquet", b"PAR1 nothing PAR1", r"a\.parquet cannot be read as Parquet"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_rows(FileTask(str(tmp_path / name)))
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_not_looked_up_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(ValueError, match=r"the ending of .*a\.xlsx does not say what it is, want one of .*\.csv"):
        task_from_source(str(tmp_path / "a.xlsx"))


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.zip", "a.xlsx"])
def test_what_a_file_of_another_kind_is_shows_by_its_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"(\xb5/\xfd\x04" if name.endswith("zst") else b"PK\x03\x04\x14\0")
    with pytest.raises(ValueError, match=rf"{name} is (packed by Zstandard|a ZIP archive).*; unpack it"):
        task_from_source(str(tmp_path / name))


def test_a_folder_that_is_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    assert isinstance(task_from_source(str(tmp_path / "a.csv")), HubTask)
    with pytest.raises(FileNotFoundError, match=r"data: .*a\.csv is a folder, want a file$"):
        load_rows(FileTask(str(tmp_path / "a.csv")))


def test_parquet_may_be_packed(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    written = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), written)
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(written.getvalue()))
    assert load_rows(task_from_source(str(tmp_path / "a.parquet.gz"))) == ROWS


def test_what_is_packed_twice_is_unpacked_twice(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(bz2.compress(LINES.encode())))
    assert load_rows(FileTask(str(tmp_path / "a.jsonl.gz"))) == ROWS


def test_bytes_are_prompts_as_they_are_answers(tmp_path: Path) -> None:
    """Older writers of Parquet do not say that what they write is text."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"prompt": ["1²?".encode()], "answer": [b"1"]}), tmp_path / "a.parquet")
    assert load_rows(FileTask(str(tmp_path / "a.parquet")))[0]["prompt"] == "1²?"
    parquet.write_table(pyarrow.table({"prompt": [b"a\xff"], "answer": [b"1"]}), tmp_path / "a.parquet")
    with pytest.raises(
        ValueError, match=r"the prompt of row 0 of .*a\.parquet is bytes that are no text in UTF-8 \(at 1"
    ):
        load_rows(FileTask(str(tmp_path / "a.parquet")))


def test_a_column_of_parquet_that_is_there_twice_is_named(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table([["1"], ["2"]], names=["prompt", "prompt"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet cannot .* names the columns \['prompt'\] more than once"):
        load_rows(FileTask(str(tmp_path / "a.parquet")))


def test_parquet_as_verl_writes_it(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"prompt": [{"role": "user", "content": "2+2?"}], "reward_model": {"style": "rule", "ground_truth": "4"}},
        {"prompt": [{"role": "user", "content": "3+3?", "name": "x"}], "reward_model": {"ground_truth": "6"}},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    read = load_rows(FileTask(str(tmp_path / "a.parquet")), answer_column="reward_model")
    assert read[0]["prompt"] == [{"role": "user", "content": "2+2?"}]
    assert [row["answer"]["ground_truth"] for row in read] == ["4", "6"]


def test_a_map_of_parquet_is_a_mapping(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    kind = pyarrow.map_(pyarrow.string(), pyarrow.string())
    for name, pairs in (("good", [("ground_truth", "4")]), ("twice", [("ground_truth", "4"), ("ground_truth", "5")])):
        table = pyarrow.table({"prompt": ["2+2?"], "answer": pyarrow.array([pairs], kind)})
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    (row,) = load_rows(FileTask(str(tmp_path / "good.parquet")))
    assert row["answer"] == {"ground_truth": "4"}
    with pytest.raises(ValueError, match=r"twice\.parquet cannot be read as Parquet: .*duplicate keys"):
        load_rows(FileTask(str(tmp_path / "twice.parquet")))
