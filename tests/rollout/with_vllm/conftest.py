"""One engine for all tests that need no engine of their own."""

import pytest
from engines import sampler_of, wide


@pytest.fixture(scope="session")
def shared():
    """A sampler of the wide embedded model at temperature 1."""
    return sampler_of(wide())
