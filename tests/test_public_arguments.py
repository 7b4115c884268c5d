"""Functions and components that a user may call with something else than they take: the error names the argument."""

import dataclasses
import errno
import inspect
import re
from typing import Any

import pytest
import torch
from beartype.door import is_bearable
from beartype.roar import BeartypeException
from rich.console import Console
from test_contracts import ASSIGNERS, ESTIMATORS, LOSSES, SHAPINGS, component_of
from test_public_functions import takes_tensors

from iapo import (
    CompactingSampler,
    Components,
    GroupRelative,
    NoInformation,
    Sampler,
    TextBoundaries,
    TransformersSampler,
    UpdateSettings,
    diagnostics,
    evaluation,
    inspection,
    policy,
    rewards,
    rollout,
    styles,
    tasks,
    tokenization,
    training,
)
from iapo.losses import ClippedPolicyLoss
from iapo.ops.arguments import arguments_named
from iapo.optimizers import ClippedOptimizer
from iapo.policy import load_model

BAD = [None, 3, -1.5, "x", b"x", [], [1], ("x",), {}, object(), torch.zeros(2), complex]
"""Things of which hardly any is what an argument is."""

MODEL, TOKENIZER = load_model("embedded")
SAMPLER = CompactingSampler(MODEL, TOKENIZER, max_new_tokens=4)
GREEDY = dataclasses.replace(SAMPLER, temperature=0.0)
ROWS = [{"prompt": "1+1=", "answer": "2"}, {"prompt": "2+3=", "answer": "5"}]
ROLLOUT = SAMPLER([row["prompt"] for row in ROWS], 2)
REWARDS = {"exact": rewards.ExactAnswer()}
ANSWERED = [ROWS[group] for group in ROLLOUT.group_ids.tolist()]
SCORES = rewards.score_rollout(ROLLOUT, ANSWERED, TOKENIZER, REWARDS)
RESULT = evaluation.EvaluationResult(
    SCORES.correct.view(2, 2), ROLLOUT.completion_lengths.view(2, 2), SCORES.correct[:2], torch.ones(2).long()
)
TRACE = inspection.CompletionTrace("2+3=", ("5", "."), (0.5, 0.0), (0.5, 0.0, 0.0), "H, nats", (True, False))
INSPECTION = inspection.Inspection((TRACE,))
COMPONENTS = Components(
    SAMPLER,
    REWARDS,
    NoInformation(),
    GroupRelative(),
    ClippedPolicyLoss(),
    ClippedOptimizer(torch.optim.SGD(MODEL.parameters(), lr=0.0)),
)
SETTINGS = UpdateSettings(group_size=2, micro_batch=4)
SAMPLES = evaluation.samples_of(ROLLOUT, ROWS, SCORES, TOKENIZER, (0,), styles.USUAL_STYLE)
STYLE = {"style": styles.USUAL_STYLE}
IDS = [[5, 6]] * 4
OF_ROLLOUT = {"rollout": ROLLOUT, "rows": ANSWERED, "tokenizer": TOKENIZER, "rewards": REWARDS}
OF_UPDATE = {"rows": ROWS, "model": MODEL, "tokenizer": TOKENIZER, "components": COMPONENTS, "settings": SETTINGS}


def logprobs_of(rollout_):
    return policy.completion_logprobs(MODEL, rollout_)[0]


CALLS = {
    diagnostics.classify_completions: {
        "rollout": ROLLOUT,
        "prompts": ["1+1=", "1+1=", "2+3=", "2+3="],
        "tokenizer": TOKENIZER,
        "classify": lambda prompt, completion: [],
    },
    diagnostics.length_gradient: {
        "logprobs": logprobs_of,
        "parameters": list(MODEL.parameters())[-1:],
        "rollout": ROLLOUT,
        "pulls": {},
        "micro_batch": 4,
    },
    evaluation.accuracy_at_budgets: {
        "forced": evaluation.ForcedAnswers("</think><answer>", "</answer>", (0,), 2),
        "rollout": ROLLOUT,
        "correct": SCORES.correct.view(2, 2),
        "rows": ROWS,
        "scoring": evaluation.Scoring(TOKENIZER, REWARDS),
        "sampler": SAMPLER,
    },
    evaluation.change: {"before": RESULT, "after": RESULT},
    evaluation.evaluate: {
        "rows": ROWS,
        "tokenizer": TOKENIZER,
        "sampler": SAMPLER,
        "greedy": GREEDY,
        "rewards": REWARDS,
        "samples": 1,
    },
    evaluation.lines_of: {"samples": SAMPLES},
    evaluation.markdown_table: {"results": {"a": RESULT}, "ks": (1,)},
    evaluation.resample: {"count": 2, "size": 2, "generator": torch.Generator()},
    evaluation.samples_of: {
        "rollout": ROLLOUT,
        "rows": ROWS,
        "scores": SCORES,
        "tokenizer": TOKENIZER,
        "eos_ids": (0,),
        **STYLE,
    },
    inspection.render_html: {"inspection": INSPECTION},
    inspection.render_terminal: {"inspection": INSPECTION, "console": Console(quiet=True)},
    inspection.strongest: {"trace": TRACE, "count": 1, "sign": 1},
    inspection.summarize: {"trace": TRACE, "threshold": 0.1},
    policy.load_model: {"source": "embedded"},
    policy.load_tokenizer: {"source": "embedded"},
    rewards.check_columns: {"rewards": REWARDS, "columns": ["prompt", "answer"]},
    rewards.check_references: {"rewards": REWARDS, "rows": ROWS},
    rewards.in_style: {"rewards": REWARDS, **STYLE},
    rewards.read_references: {"rows": ROWS},
    rewards.reference_answer: {"reference": "5"},
    rewards.score: {
        "rewards": REWARDS,
        "prompts": ["1+1="],
        "completions": ["2"],
        "completion_ids": [[5]],
        "columns": {"answer": ["2"]},
    },
    rewards.score_rollout: OF_ROLLOUT,
    rollout.ask_about: {"rollout": ROLLOUT, "answers": ["2", "2", "5", "5"], "tokenizer": TOKENIZER},
    rollout.collate: {
        "prompt_ids": IDS,
        "completion_ids": IDS,
        "group_ids": [0, 0, 1, 1],
        "pad_id": 0,
        "tokenizer": TOKENIZER,
        **STYLE,
        "eos_ids": (1,),
        "sampler_logprobs": [[-1.0, -1.0]] * 4,
        "finished": [True] * 4,
        "unread": [0] * 4,
    },
    rollout.eos_ids_of: {"sampler": SAMPLER, "tokenizer": TOKENIZER},
    rollout.read_anew: {"rollout": ROLLOUT, "tokenizer": TOKENIZER, **STYLE},
    rollout.style_of: {"sampler": SAMPLER},
    rollout.with_answers: {"rollout": ROLLOUT, "reference_ids": IDS},
    styles.better_style: {**STYLE, "samples": ["<answer>1</answer>"] * 8, "prompts": ["a"] * 8},
    styles.detect_style: {"samples": ["<answer>1</answer>"] * 8, "prompts": ["a"] * 8},
    styles.misfits: STYLE,
    tasks.hold_out: {"rows": [{"prompt": str(number)} for number in range(9)], "count": 2},
    tasks.load_rows: {"task": tasks.EmbeddedTask(), "seed": 0, "limit": 4},
    tasks.render_prompts: {"rows": ROWS, "tokenizer": TOKENIZER},
    tasks.task_from_source: {"source": "embedded"},
    tokenization.continuation_ids: {"tokenizer": TOKENIZER, "text": "5"},
    tokenization.decode_completions: {"tokenizer": TOKENIZER, "rollout": ROLLOUT},
    tokenization.token_pieces: {"tokenizer": TOKENIZER, "ids": [5, 6]},
    training.optimise: {
        "batch": training.prepare(**OF_UPDATE),
        "model": MODEL,
        "components": COMPONENTS,
        "settings": SETTINGS,
    },
    training.prepare: OF_UPDATE,
    training.update: OF_UPDATE,
}
"""Calls that succeed; each argument is then something else."""


def is_taken(value, annotation):
    try:
        return is_bearable(value, annotation)
    except BeartypeException:  # the protocol of rewards, of which nobody can say who has it
        return False


def fault(call, given, name, bad):
    """What a call with something else as one argument raises, where that does not say what it wants.

    Some things do what they are asked and have no such entry or truth: an empty dictionary, a tensor.
    """
    try:
        call(**{**given, name: bad})
    except (LookupError, RuntimeError):
        return None
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if not re.match(
            rf"(TypeError|ValueError): .*\b{name}\b.*want|ValueError: .*(want|got|needs|dimensions)", said, re.DOTALL
        ):
            return f"{name}={bad!r:.30}: {said:.160}"
    return None


@pytest.mark.parametrize(("function", "name"), [(each, name) for each, given in CALLS.items() for name in given])
def test_an_argument_of_another_type_is_named(function, name):
    annotation = inspect.signature(function).parameters[name].annotation
    others = [bad for bad in BAD if annotation is Any or not is_taken(bad, annotation)]
    faults = [fault(function, CALLS[function], name, bad) for bad in others]
    assert list(filter(None, faults)) == []


class Rows:
    """Rows as data sets have them, which are sequences by what they do alone."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def fails_with(error):
    class Failing(Sampler):
        eos_ids = ()

        def sample(self, prompts, group_size):
            raise error

    return Failing()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        torch.OutOfMemoryError("CUDA out of memory"),
        ConnectionError("the server is gone"),
        ValueError("prompts: too long"),
        KeyError("choices"),
        AttributeError("no client"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_error_of_a_component_stays_what_it_is_whatever_the_arguments(error):
    components = dataclasses.replace(COMPONENTS, sampler=fails_with(error))
    rows = ROWS if isinstance(error, AttributeError) else Rows(ROWS)
    with pytest.raises(type(error)) as raised:
        training.update(**{**OF_UPDATE, "rows": rows, "components": components}, ref_model=None)
    assert raised.value is error


def test_an_integer_is_not_blamed_where_a_float_is_wanted():
    @arguments_named
    def called(time_limit: float, function: Any) -> None:
        function()

    def fails():
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        called(60, fails)


def test_what_nothing_is_asked_of_is_not_blamed():
    """A component of its own lacks what was asked of it; ``ref_model`` is ``None`` too."""

    class Unfinished(Sampler):
        eos_ids = ()
        client = None

        def sample(self, prompts, group_size):
            return self.client.generate(prompts)

    components = dataclasses.replace(COMPONENTS, sampler=Unfinished())
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'generate'"):
        training.update(**{**OF_UPDATE, "components": components}, ref_model=None)


def test_every_public_function_whose_arguments_are_not_checked_is_called():
    packages = [diagnostics, evaluation, inspection, policy, rewards, rollout, styles, tasks, tokenization, training]
    public = {getattr(package, name) for package in packages for name in package.__all__}
    functions = {each for each in public if inspect.isfunction(each) and not takes_tensors(each)}
    checked = {policy.completion_logprobs}
    of_files = {evaluation.read_samples, evaluation.samples_beside}
    assert functions - checked - of_files == set(CALLS) - {evaluation.accuracy_at_budgets}


@pytest.mark.parametrize("function", CALLS)
def test_the_calls_succeed(function):
    function(**CALLS[function])


def made():
    """Components and styles, one of each class, whose fields are then something else."""
    of_texts = [styles.AnswerTags(), styles.Hashes(), styles.JsonField(), styles.LastLine(), styles.Phrase()]
    of_texts += [styles.ReasoningTags(), styles.BeforeAnswer(), styles.Steps(), styles.CompletionStyle()]
    of_styles = [styles.FirstThatFits((styles.Boxed(),)), styles.LastOf((styles.Boxed(),))]
    scoring = [rewards.ExactAnswer(), rewards.MathAnswer(), rewards.ThinkAnswerFormat()]
    scoring += [rewards.IsolatedReward(__file__, "made")]
    reading = [tasks.FileTask("a.jsonl"), tasks.FilesTask(("a.jsonl",)), tasks.HubTask("a/b")]
    others = [*scoring, *reading, SAMPLER, TransformersSampler(MODEL, TOKENIZER, 4), TextBoundaries(TOKENIZER)]
    others += [evaluation.ForcedAnswers("a", "b"), rollout.ScriptedSampler({"a": ["b"]}, TOKENIZER)]
    parts = [component_of(each) for each in [*ASSIGNERS, *ESTIMATORS, *LOSSES, *SHAPINGS]]
    found = {type(each): each for each in [*of_texts, *of_styles, *others, *parts] if dataclasses.is_dataclass(each)}
    return list(found.values())


def kinds_of(component):
    """The fields of a component that are no numbers, models or tokenizers."""
    return [each for each in dataclasses.fields(component) if each.init and is_compared(each.type)]


def is_compared(annotation):
    others = ("int", "float", "Schedule", "Literal", "Any", "Module", "Tokenizer", "Mapping", "Candidates")
    return not any(other in str(annotation) for other in others)


@pytest.mark.parametrize(
    ("component", "field"),
    [(each, field) for each in made() for field in kinds_of(each)],
    ids=lambda each: type(each).__name__ if not isinstance(each, dataclasses.Field) else each.name,
)
def test_a_field_of_another_kind_is_named(component, field):
    for bad in BAD:
        if is_bearable(bad, field.type) or (bad == [] and "tuple" in str(field.type)):
            continue
        with pytest.raises((TypeError, ValueError), match=rf"^{field.name}\b.*: got .*want"):
            dataclasses.replace(component, **{field.name: bad})


def test_fields_are_found():
    assert len([field for each in made() for field in kinds_of(each)]) > 50
