"""The largest differences from peers that tests found, as a table at the end of the run."""

from collections import defaultdict

import pytest
import torch
from peer_batches import NAMES, version_of

LARGEST: dict[tuple[str, str], dict[torch.dtype, float]] = defaultdict(dict)
"""By our part and the peer's function, then by dtype."""

TOLERANCES = {torch.float32: 2e-6, torch.float64: 1e-14}
"""What rounding explains at values of about 1 that are summed over some tens of tokens."""


@pytest.fixture
def agree():
    """Asserts that pairs of tensors agree to rounding, relative to their size if it is above 1; keeps the difference.

    ``besides`` is what else may separate them, for a reason that the test gives.
    """

    def agree(ours: str, theirs: str, *pairs: tuple[torch.Tensor, torch.Tensor], besides: float = 0.0) -> None:
        for found, expected in pairs:
            assert found.shape == expected.shape, f"{ours}: shape {tuple(found.shape)}, {theirs}: {expected.shape}"
            assert found.dtype == expected.dtype, f"{ours}: {found.dtype}, {theirs}: {expected.dtype}"
            found, expected = found.detach(), expected.detach()
            difference = float((found.double() - expected.double()).abs().max())
            row = LARGEST[ours, theirs]
            row[found.dtype] = max(row.get(found.dtype, 0.0), difference)
            allowed = TOLERANCES[found.dtype] * max(1.0, float(expected.abs().max())) + besides
            assert difference <= allowed, f"{ours} is {difference:.1e} from {theirs}, want at most {allowed:.1e}"

    return agree


def pytest_terminal_summary(terminalreporter):
    """The table, in the form that docs/peers.md and benchmarks/RESULTS.md show."""
    if not LARGEST:
        return
    terminalreporter.section("largest differences from peers")
    versions = ", ".join(f"{name} {version_of(name)}" for name in NAMES if version_of(name))
    terminalreporter.write_line(f"{versions}; torch {torch.__version__}\n")
    terminalreporter.write_line("| here | there | fp32 | float64 |\n|---|---|---|---|")
    for (ours, theirs), row in sorted(LARGEST.items()):
        cells = [f"{row[dtype]:.1e}" if dtype in row else "" for dtype in TOLERANCES]
        terminalreporter.write_line(f"| {ours} | {theirs} | {cells[0]} | {cells[1]} |")
