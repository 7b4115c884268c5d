"""Where problems come from, one task a file. The interface is `iapo.tasks.Task`."""

from iapo.tasks.embedded import EmbeddedTask
from iapo.tasks.file import FileTask
from iapo.tasks.files import FilesTask
from iapo.tasks.hub import HubTask
from iapo.tasks.interface import Classifier, Row, RowPlace, Split, Task
from iapo.tasks.prompts import render_prompts
from iapo.tasks.reasoning_gym import ReasoningGymTask
from iapo.tasks.rows import load_rows
from iapo.tasks.source import task_from_source
from iapo.tasks.splitting import hold_out
from iapo.tasks.stream import PromptStream

__all__ = [
    "Classifier",
    "EmbeddedTask",
    "FileTask",
    "FilesTask",
    "HubTask",
    "PromptStream",
    "ReasoningGymTask",
    "Row",
    "RowPlace",
    "Split",
    "Task",
    "hold_out",
    "load_rows",
    "render_prompts",
    "task_from_source",
]
