"""The parts that need a GPU, at toy size on a CPU: they run, go on where they stopped, and say what failed."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from iapo.comparison.running.read_plan import read_plan

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def gpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks.gpu import __main__, pack, results, study

        yield {"main": __main__.main, "pack": pack, "results": results, "study": study}


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


@pytest.fixture
def warm_started(text_model, tmp_path):
    """A folder as `benchmarks/warm_start.py` writes it."""
    folder = shutil.copytree(text_model, tmp_path / "sums")
    (folder / "problems.jsonl").write_text("".join(f'{{"prompt": "{n}", "answer": "{n}"}}\n' for n in range(1000)))
    measured = {"mean_length": 80.5, "lengths": {"0.2": 50.0, "0.33": 60.4, "0.5": 75.0, "0.8": 99.0}}
    (folder / "warm_start.json").write_text(json.dumps({"measured": measured}))
    return folder


def read(plan, folder):
    path = folder / "plan.yaml"
    path.write_text(json.dumps(plan))
    return {method.name: list(method.settings.values()) for method in read_plan(path).methods}


def test_the_study_of_a_real_model_tunes_every_method(gpu, warm_started, tmp_path):
    base = gpu["study"].warm_started(warm_started)
    methods = read(gpu["study"].plan_of(base, toy=False), tmp_path)
    assert len(methods) == 9
    assert all(len(settings) == 3 for settings in methods.values())
    for name in ("grpo_capped", "dler"):
        caps = [settings["sampler"]["init_args"]["max_new_tokens"] for settings in methods[name]]
        assert caps == [50, 60, 75]
    assert {each["max_tokens"] for method in methods.values() for each in method} == {200 * 32 * 8 * 80.5}
    assert methods["dler"][0]["assigner"]["init_args"]["outcome"]["init_args"]["shaping"]["init_args"]["limit"] == 75
    for name in ("apr", "iapo_steps", "leave_out", "leave_out_permuted"):
        boundaries = methods[name][0]["estimator"]["init_args"]["boundaries"]
        assert boundaries["class_path"] == "iapo.estimators.TextBoundaries"


def test_that_of_the_embedded_one_tunes_as_many_values(gpu):
    plan = gpu["study"].plan_of(gpu["study"].EMBEDDED, toy=False)
    assert [len(values) for entry in plan["methods"].values() for values in entry["tune"].values()] == [3] * 9
    assert plan["base"]["max_tokens"] == 400_000
    assert not set(plan["tuning"]["seeds"]) & set(plan["reporting"]["seeds"])


def test_at_toy_size_one_method_is_tuned(gpu, tmp_path):
    methods = read(gpu["study"].plan_of(gpu["study"].EMBEDDED, toy=True), tmp_path)
    assert sum(map(len, methods.values())) == 10


def test_each_folder_of_weights_is_a_case_and_another_folder_is_refused(gpu, warm_started, tmp_path, monkeypatch):
    other, asked = shutil.copytree(warm_started, tmp_path / "words"), []
    monkeypatch.setattr(gpu["study"], "compare", lambda plan, output, seconds: asked.append((plan, seconds)) or {})
    weights = ["--weights", str(warm_started), "--weights", str(other)]
    assert gpu["main"](["study", "--output", str(tmp_path), *weights]) == 0
    assert [plan.name for plan, _ in asked] == ["study-sums.yaml", "study-words.yaml"]
    assert all(0 < seconds <= 8.5 * 60 for _, seconds in asked)
    with pytest.raises(SystemExit, match="two folders named sums"):
        gpu["main"](["study", "--output", str(tmp_path), *weights, *weights[:2]])
    (other / "warm_start.json").unlink()
    with pytest.raises(SystemExit, match=r"words, which has no warm_start\.json"):
        gpu["main"](["study", "--output", str(tmp_path), *weights])


def test_all_parts_are_importable_and_named(gpu):
    from benchmarks.gpu import contracts, estimate, sampling, study

    for part in (contracts, estimate, sampling, study):
        assert callable(part.run)
        assert sys.modules[part.__name__].__doc__
