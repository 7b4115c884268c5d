"""A run with two checkpoints."""

import shutil
from pathlib import Path

import pytest
from saved_runs import save


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints 1 and 2; copy it before changing it."""
    run = tmp_path_factory.mktemp("run")
    save(run, 1)
    save(run, 2)
    return run


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    """A copy of the run with checkpoints 1 and 2, which a test may change."""
    return Path(shutil.copytree(saved, tmp_path / "run"))
