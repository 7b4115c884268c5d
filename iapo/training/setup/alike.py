"""What the processes of a run must have alike: each of them reads settings, problems and weights by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iapo.tasks import Row
from iapo.tasks.stream import digest_of
from iapo.training.checkpoints.checkpoint import checkpoints
from iapo.training.checkpoints.reproducibility import differences, versions
from iapo.training.configuration.settings import RunSettings
from iapo.training.distributed.processes import Processes

_OWN = {"threads", "cuda_devices"}
"""What each process may have as its machine is."""


def check_alike(processes: Processes, facts: Mapping[str, Any]) -> None:
    """Compare what the processes have, before they divide work that they take for the same.

    Args:
        processes: all of them call this together.
        facts: of this process, plain data by name.

    Raises:
        ValueError: on all processes, if the facts of one differ from those of the first; both values are named.
    """
    first, *others = processes.gather(dict(facts))
    for index, found in enumerate(others, 1):
        if changes := differences(first, found, ("process 0 has", f"process {index} has")):
            raise ValueError(
                f"the processes of a run divide the same work, and these differ between them: {'; '.join(changes)}. "
                "Start all of them with the same command, let them see the same files, and let what makes problems "
                "draw from the seed that it is given"
            )


def known_before_loading(settings: RunSettings, resolved: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """What is compared before a policy loads.

    Args:
        settings: of the run. Its folder may have another name, and may not hold another run to go on with.
        resolved: all settings as plain data, with what was found of the tokenizer and the processes.
        rows: all problems, as the data have them.
    """
    folder = Path(settings.output)
    begun = (folder / name for name in ("config.json", "evaluation-0.json"))
    return {
        **asdict(settings),
        **resolved,
        "output": "",
        "problems": digest_of(rows),
        "versions": {name: each for name, each in versions().items() if name not in _OWN},
        "in the run folder": [path.name for path in (*checkpoints(folder), *begun) if path.exists()],
    }
