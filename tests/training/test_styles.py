"""The style of a run: said, known to the task, kept, or found in samples; and what happens where nothing is read."""

import json

import pytest
import torch
from transformers import PreTrainedTokenizerBase
from updates import TOKENIZER, embedded_model, run

from iapo.estimators import AnswerLikelihood, EarlyExitEntropy, NoInformation, Refined
from iapo.rewards import ThinkAnswerFormat, score_rollout
from iapo.rollout import ScriptedSampler, TransformersSampler, eos_ids_of
from iapo.styles import (
    USUAL_STYLE,
    AnswerTags,
    BeforeAnswer,
    Boxed,
    CompletionStyle,
    Phrase,
    ReasoningTags,
)
from iapo.tasks import EmbeddedTask, FileTask
from iapo.training.styles import StyleSource, estimator_in_style, from_plain, kept_style, plain, sampler_in_style

FILE = FileTask("problems.jsonl")
CPU = torch.device("cpu")


def scripted(*texts: str, end: bool = True, tokenizer: PreTrainedTokenizerBase = TOKENIZER) -> ScriptedSampler:
    return ScriptedSampler(lambda prompt, index: texts[index % len(texts)], tokenizer, append_eos=end)


def chosen(source: StyleSource, *texts: str, end: bool = True) -> CompletionStyle:
    return source.choose(FILE, scripted(*texts, end=end), TOKENIZER, ["1+2="] * 3, CPU)


def test_what_is_known_is_not_sampled(capsys):
    def fail(prompt, index):
        raise AssertionError("sampled")

    sampler = ScriptedSampler(fail, TOKENIZER)
    choose = lambda source, task: source.choose(task, sampler, TOKENIZER, ["1+2="], CPU)  # noqa: E731
    own = EmbeddedTask().style
    assert choose(StyleSource(), EmbeddedTask()) == own == CompletionStyle(steps=own.steps)
    both = StyleSource("boxed", "before_answer", closing="!")
    assert choose(both, FILE) == CompletionStyle(BeforeAnswer(), Boxed(), ends="!")
    assert choose(StyleSource("boxed"), EmbeddedTask()) == CompletionStyle(answer=Boxed(), steps=own.steps)
    assert choose(both, EmbeddedTask()) == CompletionStyle(BeforeAnswer(), Boxed(), ends="!", steps=own.steps)
    assert choose(StyleSource(Phrase("So: "), ReasoningTags("a", "b")), FILE).postfix == "bSo: "
    assert capsys.readouterr().err == ""


def test_auto_finds_and_tells(capsys):
    style = chosen(StyleSource(), "<think>1+2=3</think><answer>3</answer>", "hmm 1")
    assert style == CompletionStyle()
    before, told = capsys.readouterr().err.splitlines()
    assert "looked for in 15 samples" in before
    assert "answer by AnswerTags" in told
    assert "'</think><answer>'" in told
    state = torch.random.get_rng_state()
    chosen(StyleSource(postfix="</think>"), "<think>1</think><answer>3</answer>")
    assert torch.equal(state, torch.random.get_rng_state())


def test_auto_says_what_to_do_where_nothing_fits(capsys):
    with pytest.raises(ValueError, match="--answer_style tags"):
        chosen(StyleSource(), "hmm 1")
    assert chosen(StyleSource("boxed"), "hmm 1") == CompletionStyle(BeforeAnswer(), Boxed())
    assert chosen(StyleSource(), "hmm 1", end=False) == USUAL_STYLE, "all were cut: nothing to judge by"
    assert "--sampler.max_new_tokens" in capsys.readouterr().err


@pytest.mark.parametrize("style", [USUAL_STYLE, CompletionStyle(BeforeAnswer(" "), Phrase(), "\n", "a", "b")])
def test_a_run_keeps_its_style(tmp_path, style):
    assert from_plain(json.loads(json.dumps(plain(style)))) == style
    settings = {"answer_style": "auto", "reasoning_style": "auto", "postfix": None, "closing": None}
    assert kept_style(tmp_path, settings) is None
    (tmp_path / "config.json").write_text(json.dumps(settings | {"style": plain(style)}))
    assert kept_style(tmp_path, settings) == style
    assert kept_style(tmp_path, settings | {"answer_style": "boxed"}) is None, "another one is asked for"
    with pytest.raises(ValueError, match=r"pathlib.Path is no style"):
        from_plain({"class_path": "pathlib.Path", "init_args": {}})


def test_components_take_the_style_of_a_run():
    style = CompletionStyle(answer=AnswerTags("1", "2"))
    own = ScriptedSampler({}, TOKENIZER, style=CompletionStyle())
    assert sampler_in_style(own, style) is own
    assert sampler_in_style(ScriptedSampler({}, TOKENIZER), style).style is style
    asked = estimator_in_style(Refined(AnswerLikelihood((1,), (2,)), stride=2), style, TOKENIZER).estimator
    assert asked.postfix_ids == tuple(TOKENIZER.encode("</think>1", add_special_tokens=False))
    assert asked.closing_ids == tuple(TOKENIZER.encode("2", add_special_tokens=False))
    assert estimator_in_style(EarlyExitEntropy((1,)), style, TOKENIZER).postfix_ids == asked.postfix_ids
    nothing = NoInformation()
    assert estimator_in_style(nothing, style, TOKENIZER) is nothing


def test_rewards_without_spans_are_counted_and_warned_of():
    paid = {"r": lambda completions, **_: [float("</answer>" in text) for text in completions]}
    assert run(rewards=paid)[0]["iapo/completions/without_span"] == 0
    model = embedded_model()
    boxed = TransformersSampler(model, TOKENIZER, 40, style=CompletionStyle(answer=Boxed()))
    with pytest.warns(UserWarning, match=r"no final answer is found in them\. .*--answer_style"):
        metrics, _ = run(model=model, sampler=boxed, rewards=paid)
    assert metrics["iapo/completions/without_span"] > 0
    tags = CompletionStyle(ReasoningTags("!", "<think>"))
    with pytest.warns(UserWarning, match=r"no reasoning is found in them\. .*--reasoning_style"):
        run(model=model, sampler=TransformersSampler(model, TOKENIZER, 40, style=tags), rewards=paid)


def test_a_completion_may_end_with_a_token_of_the_models_own():
    class Ended(ScriptedSampler):
        eos_ids = (TOKENIZER.eos_token_id, TOKENIZER.pad_token_id)

    text = "<think>1+1=2</think><answer>2</answer>"
    rollout = Ended({"1+1=": [text + TOKENIZER.pad_token]}, TOKENIZER)(["1+1="], 1)
    sampler = Ended({}, TOKENIZER)
    shape = {"form": ThinkAnswerFormat()}
    rows = [{"prompt": "1+1=", "answer": "2"}]
    assert score_rollout(rollout, rows, TOKENIZER, shape, eos_ids_of(sampler, TOKENIZER)).total.tolist() == [1.0]
    assert score_rollout(rollout, rows, TOKENIZER, shape).total.tolist() == [0.0]


def test_a_closing_tag_may_end_the_sequence():
    model = embedded_model()
    model.generation_config.eos_token_id = TOKENIZER.convert_tokens_to_ids("</answer>")
    metrics, _ = run(model=model, sampler=TransformersSampler(model, TOKENIZER, 60))
    assert metrics["rewards/accuracy/mean"] > 0.2
    assert metrics["iapo/completions/without_answer"] < 8
    assert metrics["iapo/information_per_token"] > 0
