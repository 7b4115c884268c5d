"""The embedded default: a generated arithmetic task and a tiny language model that solves it in too many words.

The model is in a folder of the package (`model_path()`), made by `python -m iapo.embedded.recipe`, and loads like any
other: `AutoModelForCausalLM.from_pretrained(model_path())`, `AutoTokenizer.from_pretrained(model_path())`.
"""

from importlib.resources import files
from pathlib import Path

from iapo.embedded.labels import TokenClass, classify, parse_answer
from iapo.embedded.measurement import measure, sample
from iapo.embedded.reasoning import demonstrate, shortest_length, shortest_reasoning
from iapo.embedded.symbols import build_tokenizer, split_symbols
from iapo.embedded.task import Problem, Split, Step, apply, generate_problems, parse_prompt, rows, split_of

__all__ = [
    "Problem",
    "Split",
    "Step",
    "TokenClass",
    "apply",
    "build_tokenizer",
    "classify",
    "demonstrate",
    "generate_problems",
    "measure",
    "model_path",
    "parse_answer",
    "parse_prompt",
    "rows",
    "sample",
    "shortest_length",
    "shortest_reasoning",
    "split_of",
    "split_symbols",
]


def model_path() -> Path:
    """The folder of the embedded model.

    Returns:
        A folder with `config.json`, `model.safetensors`, the tokenizer and `recipe.json`.
    """
    return Path(str(files(__name__))) / "model"
