"""Tests with the real package of DeepSpeed, on two processes of this machine over gloo."""

from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(items):
    """Without DeepSpeed they are skipped."""
    if find_spec("deepspeed") is None:
        for item in items:
            if "with_deepspeed" in item.path.parts:
                item.add_marker(
                    pytest.mark.skip(reason="needs deepspeed, as in the environment of make test-deepspeed")
                )
