"""The parts that need a GPU, at toy size on a CPU: they run, go on where they stopped, and say what failed."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def gpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks.gpu import __main__, pack, results

        yield {"main": __main__.main, "pack": pack, "results": results}


def test_the_estimate_runs_and_is_not_measured_twice(gpu, tmp_path, capfd):
    arguments = ["estimate", "--toy", "--output", str(tmp_path)]
    assert gpu["main"](arguments) == 0
    rows = json.loads((tmp_path / "estimate.json").read_text())["rows"]
    assert {"seconds", "machine"} <= set(rows["SmolLM2-135M, 64, packed, sdpa"])
    assert "torch" in (tmp_path / "estimate.md").read_text()
    assert (tmp_path / "profile.txt").stat().st_size
    capfd.readouterr()
    assert gpu["main"](arguments) == 0
    assert "estimate:" not in capfd.readouterr().out


def test_a_case_that_fails_says_why_and_is_tried_again(gpu, tmp_path):
    def fail():
        raise ValueError("no such device")

    results = gpu["results"].Results(tmp_path, "part", minutes=1)
    assert results.case("first", fail) is None
    assert results.case("second", lambda: {"seconds": 1.0})["seconds"] == 1
    again = gpu["results"].Results(tmp_path, "part", minutes=1)
    assert again.failed == ["first"]
    assert "ValueError: no such device" in (tmp_path / "part.md").read_text()
    assert again.case("second", fail)["seconds"] == 1
    again.case("first", lambda: {"seconds": 2.0})
    assert again.failed == []


def test_no_case_is_begun_when_time_is_over(gpu, tmp_path):
    results = gpu["results"].Results(tmp_path, "part", minutes=-1)
    with pytest.raises(gpu["results"].OutOfTimeError, match="late"):
        results.case("late", lambda: {})


def test_parts_of_a_file_are_joined_again(gpu, tmp_path):
    file, content = tmp_path / "model.safetensors", bytes(range(256)) * 41
    file.write_bytes(content)
    parts = gpu["pack"].split(file, size=4096)
    assert [part.stat().st_size for part in parts] == [4096, 4096, 256 * 41 - 8192]
    file.unlink()
    gpu["pack"].join(file)
    assert file.read_bytes() == content
    parts[1].write_bytes(b"x" * 4096)
    with pytest.raises(SystemExit, match=r"part-001: damaged"):
        gpu["pack"].join(file)
    parts[1].unlink()
    with pytest.raises(SystemExit, match=r"part-001: not there"):
        gpu["pack"].join(file)
    assert file.read_bytes() == content


def test_all_parts_are_importable_and_named(gpu):
    from benchmarks.gpu import contracts, estimate, sampling, study

    for part in (contracts, estimate, sampling, study):
        assert callable(part.run)
        assert sys.modules[part.__name__].__doc__
