"""Settings of all tests: one random state before each, hypothesis without deadlines (a first call pays for imports)."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # sums depend on it: a run is compared with that of another process

import pytest
from hypothesis import Phase, settings
from transformers import AutoTokenizer, set_seed

from iapo.embedded import model_path

settings.register_profile("local", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, print_blob=True)
settings.register_profile("first failure", settings.get_profile("local"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_sessionfinish(session):
    """With ``NOTHING_SKIPPED``, as in an engine's own environment, a test that is skipped fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("NOTHING_SKIPPED") and (skipped := reporter.stats.get("skipped")):
        reporter.ensure_newline()
        for report in skipped:
            reporter.write_line(
                f"{report.nodeid}: skipped, and this target runs all of its tests: {report.longrepr[2]}"
            )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def seeded():
    """Python's, NumPy's and torch's generators: a test draws the same whatever ran before it in its process."""
    set_seed(0)


@pytest.fixture(scope="session")
def embedded_tokenizer():
    """The tokenizer of the embedded model."""
    return AutoTokenizer.from_pretrained(model_path())


@pytest.fixture(scope="session")
def text_model(tmp_path_factory):
    """The folder of a model that reads and writes any text."""
    from text_models import write_text_model

    folder = tmp_path_factory.mktemp("model")
    write_text_model(folder)
    return folder


@pytest.fixture
def first_failure():
    """For components broken on purpose: they fail at the first example, and making it smaller would only take time."""
    before = settings.get_current_profile_name()
    settings.load_profile("first failure")
    yield
    settings.load_profile(before)
