"""Everything that runs on a device, on a stand-in for one: no tensor is made in the wrong place."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch.utils.backend_registration

FILE = Path(__file__).with_name("on_stand_in.py")


@pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="needs a torch that takes devices written in Python",
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="a process has one kind of accelerator, and here is a real one")
def test_on_a_stand_in_for_a_device():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
