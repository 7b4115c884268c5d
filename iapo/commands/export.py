"""`iapo export`: the policy of a run as a folder that any library of the Hugging Face kind loads, with a model card."""

import re
import shutil
from pathlib import Path

from iapo.commands.last_line import say_where
from iapo.ops.json_files import read_json_file
from iapo.ops.shell import quoted_list
from iapo.ops.tensor_files import failed_writes_named, follow_umask
from iapo.ops.text_files import TEMPORARY, check_is_text, read_text, write_text
from iapo.policy.loading import load_model, load_tokenizer
from iapo.policy.lora import base_of, is_adapter
from iapo.training.checkpoints.checkpoint import FORMAT, checkpoints, is_checkpoint, latest_checkpoint, settings_in
from iapo.training.checkpoints.folder import verify_folder
from iapo.training.configuration.trained_problems import export_settings
from iapo.training.reporting.progress import CommandProgress
from iapo.training.reporting.report import FIGURES, REPORT

_CARD = """---
library_name: {library}{base_line}
pipeline_tag: text-generation
tags: [iapo, reinforcement-learning, reasoning{tag}]
---

# {name}

`{base}` after {step} updates with iapo, information-aware policy optimization.

```python
{code}
```

{report}
"""
_CODE = """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")"""
_ADAPTER_CODE = """from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model = AutoPeftModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")"""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def export(*, run: str, output: str, adapter: bool) -> int:
    """Write weights (safetensors), tokenizer, generation configuration and ``README.md``, the model card.

    ``iapo_problems.json`` says which data the run had and how many problems it held out, by its own settings, so that
    `iapo eval` can warn of those that the model was trained on.

    Args:
        run: a run folder, of which the newest complete checkpoint is taken, or a ``checkpoint-N`` folder.
        output: the folder; it appears when it is complete.
        adapter: of a run that trained adapters, keep them apart in place of merging them.

    Returns:
        The exit code 0.

    Raises:
        FileExistsError: ``output`` is there and is no empty folder.
        FileNotFoundError: no such run, or one without a checkpoint.
        OSError: ``output`` cannot be written; raised before anything loads.
        ValueError: ``adapter`` of a run that trained all weights, a damaged checkpoint, or an ``output`` whose name has
            bytes that are no UTF-8.
    """
    check_is_text("output", output)
    checkpoint = _checkpoint(Path(run).expanduser())
    if adapter and not is_adapter(checkpoint):
        raise ValueError(f"adapter: {checkpoint} has all weights and no adapters; leave --adapter out")
    target = Path(output).expanduser()
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise FileExistsError(f"output: {output} is there already; name another folder")
    temporary = target.with_name(target.name + TEMPORARY)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    except OSError as error:
        raise OSError(
            f"output: {output} cannot be made ({error.strerror}); want a place that can be written"
        ) from error
    try:
        with CommandProgress("iapo export") as progress, progress.phase(f"writing {target} from {checkpoint}"):
            _write(checkpoint, temporary, adapter)
            export_settings(checkpoint, temporary)
            write_text(temporary / "README.md", _card(checkpoint, temporary, target.name, adapter))
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    say_where(
        "iapo export",
        f"the model is in {target}, its card is {target / 'README.md'}; "
        f"iapo eval --models {quoted_list(target)} evaluates it",
    )
    return 0


def _checkpoint(run: Path) -> Path:
    """The complete checkpoint that is meant."""
    if not run.is_dir():
        those = ", ".join(path.name for path in checkpoints(run.parent))
        wanted = f"one of {run.parent}: {those}" if those else "the --output of iapo train"
        raise FileNotFoundError(f"run: no folder {run}; want {wanted}")
    if is_checkpoint(run):
        verify_folder(run, FORMAT)
        return run
    found = latest_checkpoint(run)
    if found is None:
        raise FileNotFoundError(f"run: {run} has no checkpoint; iapo train writes them every --checkpoint_every steps")
    return found


def _write(checkpoint: Path, folder: Path, adapter: bool) -> None:
    if adapter:
        for name in _ADAPTER_FILES:
            shutil.copy(checkpoint / name, folder)
        model, tokenizer = None, load_tokenizer(str(checkpoint))
    else:
        model, tokenizer = load_model(str(checkpoint))
    with failed_writes_named(folder, "make room, then run it again"):
        if model is not None:
            model.save_pretrained(folder)
            model.generation_config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        follow_umask(folder)


def _card(checkpoint: Path, folder: Path, name: str, adapter: bool) -> str:
    """The model card: where the model comes from, how to load it, and the report of its run with its pictures."""
    run, report = checkpoint.parent, "The run has no report: it was not finished."
    step = read_json_file(checkpoint / "state.json")["step"]
    if (run / REPORT).exists():
        text = read_text(run / REPORT)
        other = (
            "" if f"\n- updates: {step}\n" in text else "\nThe numbers are of the model at its end, not of this one.\n"
        )
        report = text.replace("# Report\n", f"## The run\n{other}", 1).replace("\n## ", "\n### ")
        report = report.replace("### The run", "## The run", 1).strip()
        for figure in FIGURES:
            if (run / figure).exists():
                shutil.copy(run / figure, folder)
    base = base_of(checkpoint) if is_adapter(checkpoint) else _base(checkpoint)
    code = (_ADAPTER_CODE if adapter else _CODE).format(name=name)
    library, tag = ("peft", ", lora") if adapter else ("transformers", "")
    named = (
        {"base": base, "base_line": f"\nbase_model: {base}"} if _HUB_ID.fullmatch(base) else {"base": Path(base).name}
    )
    fields = {"base_line": "", **named, "library": library, "tag": tag, "name": name, "step": step, "code": code}
    return _CARD.format(**fields, report=report)


def _base(checkpoint: Path) -> str:
    """The model that the run of a checkpoint began from, as its settings name it."""
    try:
        return str(settings_in(checkpoint)["model"])
    except (OSError, ValueError, LookupError, TypeError):
        return "unknown"
