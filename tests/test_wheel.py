"""The wheel holds what a command needs that is no code: the files of settings and the embedded model."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from iapo.training.configuration.shipped import names, shipped_path

ROOT = Path(__file__).parents[1]


def test_settings_are_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {f"{name}" for name in names()} >= {"gfpo", "iapo", "leave_out", "compare/embedded"}
    for name in names():
        assert Path(shipped_path(f"iapo://{name}")).is_file()
    with pytest.raises(ValueError, match="did you mean iapo://compare/embedded"):
        shipped_path("iapo://compare/embeded")


def test_the_wheel_is_told_to_carry_them():
    import tomllib

    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["force-include"] == {"configs": "iapo/configs"}


@pytest.mark.slow
def test_a_wheel_that_is_built_has_them(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    else:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {f"iapo/configs/{name}.yaml" for name in names()} <= inside
    assert {"iapo/embedded/model/model.safetensors", "iapo/embedded/model/tokenizer.json"} <= inside
