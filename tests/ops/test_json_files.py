"""Files of JSON are named if they cannot be read, and sealed ones if they are not what was written."""

import json
import math
import os

import pytest

from iapo.ops.json_files import read_json_file, read_sealed, write_sealed

CONTENT = {"b": [1, 2.5, None, True], "a": {"text": "caf\xe9 \udcff"}, "c": math.inf}


def test_a_sealed_file_holds_what_was_written_and_its_digest(tmp_path):
    write_sealed(tmp_path / "file.json", CONTENT)
    assert read_sealed(tmp_path / "file.json") == CONTENT
    *names, seal = read_json_file(tmp_path / "file.json")
    assert (names, seal) == (list(CONTENT), "sha256")


def test_every_bit_of_a_sealed_file_counts(tmp_path):
    file = tmp_path / "file.json"
    write_sealed(file, {"a": [10, 20]})
    content = file.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            with pytest.raises(ValueError, match=r"file\.json: is damaged"):
                read_sealed(file)
    for cut in range(len(content)):
        file.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"file\.json: is damaged"):
            read_sealed(file)


def test_a_file_without_a_digest_is_no_sealed_one(tmp_path):
    file = tmp_path / "file.json"
    for other in ({"a": 1}, [1], 3, None, "sha256"):
        file.write_text(json.dumps(other))
        with pytest.raises(ValueError, match=r"file\.json: is damaged or of something else, it has no digest"):
            read_sealed(file)


@pytest.mark.parametrize("content", [b"", b"{", b"caf\xe9", b"\xff", b"[" * 100_000, b'{"a": "\xff"}'])
def test_what_is_no_json_is_named(tmp_path, content):
    (tmp_path / "file.json").write_bytes(content)
    for read in (read_json_file, read_sealed):
        with pytest.raises(ValueError, match=r"file\.json: is damaged, it is no JSON \("):
            read(tmp_path / "file.json")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "file.json")
    with pytest.raises(OSError, match=r"file\.json: is a named pipe, want a file"):
        read_json_file(tmp_path / "file.json")
