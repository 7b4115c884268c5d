"""One engine for all tests that need no engine of their own, and one server."""

import pytest
from engines import sampler_of, wide
from servers import running

from iapo.embedded.heads import main as write_wide
from iapo.rollout import VLLMServerSampler


@pytest.fixture(scope="session")
def shared():
    """A sampler of the wide embedded model at temperature 1."""
    return sampler_of(wide())


@pytest.fixture(scope="session")
def wide_folder(tmp_path_factory):
    """The folder of the wide embedded model."""
    folder = tmp_path_factory.mktemp("server") / "wide"
    write_wide([str(folder)])
    return folder


@pytest.fixture(scope="session")
def server(wide_folder):
    """The address of a server of the wide embedded model, started as the documentation says."""
    with running(wide_folder) as (url, _):
        yield url


@pytest.fixture
def served(server, tmp_path):
    """A sampler that asks it, at temperature 1."""
    from engines import tokenizer

    return VLLMServerSampler(wide(), tokenizer(), 24, url=server, weights_folder=str(tmp_path / "weights"))
