"""Settings of all tests: one seedless hypothesis profile without deadlines (a first call pays for imports)."""

import os

import pytest
from hypothesis import settings
from transformers import AutoTokenizer

from iapo.embedded import model_path

settings.register_profile("local", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def embedded_tokenizer():
    """The tokenizer of the embedded model."""
    return AutoTokenizer.from_pretrained(model_path())
