"""The style of a run: said, known to the task, kept, or found in samples; and what happens where nothing is read."""

import json

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from updates import TOKENIZER, embedded_model, run

from iapo.estimators import AnswerLikelihood, EarlyExitEntropy, NoInformation, Refined
from iapo.policy.loading import load_model
from iapo.rewards import ThinkAnswerFormat, score_rollout
from iapo.rollout import ScriptedSampler, TransformersSampler, eos_ids_of
from iapo.styles import (
    USUAL_STYLE,
    AnswerTags,
    BeforeAnswer,
    Boxed,
    CompletionStyle,
    Phrase,
    Reasoned,
    ReasoningStyle,
    ReasoningTags,
)
from iapo.tasks import EmbeddedTask, FileTask
from iapo.training.checkpoints.checkpoint import TrainingState, save_checkpoint
from iapo.training.configuration.styles import StyleSource, estimator_in_style, sampler_in_style
from iapo.training.setup.finding_style import choose_style, first_of
from iapo.training.setup.kept_style import from_plain, kept_style, plain


def letters() -> PreTrainedTokenizerFast:
    """Tokenizes any text, a byte a token."""
    backend = Tokenizer(models.BPE({byte: n for n, byte in enumerate(ByteLevel.alphabet())}, []))
    backend.pre_tokenizer, backend.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")


FILE = FileTask("problems.jsonl")
LETTERS = letters()
CPU = torch.device("cpu")


def scripted(*texts: str, end: bool = True, tokenizer: PreTrainedTokenizerBase = TOKENIZER) -> ScriptedSampler:
    return ScriptedSampler(lambda prompt, index: texts[index % len(texts)], tokenizer, append_eos=end)


def chosen(source: StyleSource, *texts: str, end: bool = True) -> CompletionStyle:
    return choose_style(source, FILE, scripted(*texts, end=end), TOKENIZER, ["1+2="] * 3, CPU)


def test_what_is_known_is_not_sampled(capsys):
    def fail(prompt, index):
        raise AssertionError("sampled")

    sampler = ScriptedSampler(fail, TOKENIZER)
    choose = lambda source, task: choose_style(source, task, sampler, TOKENIZER, ["1+2="], CPU)  # noqa: E731
    own = EmbeddedTask().style
    assert choose(StyleSource(), EmbeddedTask()) == own == CompletionStyle(steps=own.steps)
    both = StyleSource("boxed", "before_answer", closing="}!")
    assert choose(both, FILE) == CompletionStyle(BeforeAnswer(), Boxed(), ends="}!")
    assert choose(StyleSource("boxed"), EmbeddedTask()) == CompletionStyle(answer=Boxed(), steps=own.steps)
    assert choose(both, EmbeddedTask()) == CompletionStyle(BeforeAnswer(), Boxed(), ends="}!", steps=own.steps)
    assert choose(StyleSource(Phrase("So: "), ReasoningTags("a", "b")), FILE).postfix == "bSo: "
    assert capsys.readouterr().err == ""


def test_auto_finds_and_tells(capsys):
    style = chosen(StyleSource(), "<think>1+2=3</think><answer>3</answer>", "hmm 1")
    assert style == CompletionStyle()
    before, told = capsys.readouterr().err.splitlines()
    assert before.endswith("looked for in 16 samples (--answer_style and --reasoning_style name it)")
    assert "answer by AnswerTags" in told
    assert "'</think><answer>'" in told
    state = torch.random.get_rng_state()
    chosen(StyleSource(postfix="</think>\n<answer>"), "<think>1</think><answer>3</answer>")
    assert torch.equal(state, torch.random.get_rng_state())


def test_auto_says_what_to_do_where_nothing_fits(capsys):
    with pytest.raises(ValueError, match="--answer_style tags"):
        chosen(StyleSource(), "hmm 1")
    capsys.readouterr()
    assert chosen(StyleSource("boxed"), "hmm 1") == CompletionStyle(BeforeAnswer(), Boxed())
    assert "(--reasoning_style names it)" in capsys.readouterr().err
    assert chosen(StyleSource(), "hmm 1", end=False) == USUAL_STYLE, "all were cut: nothing to judge by"
    assert "--sampler.max_new_tokens" in capsys.readouterr().err


def written(source: StyleSource, text: str, **options) -> CompletionStyle:
    prompts = [f"{n}+1=" for n in range(9)]
    return choose_style(source, FILE, scripted(text, tokenizer=LETTERS), LETTERS, prompts, CPU, **options)


TAGGED, BOXED = "<think>1+2=3</think><answer>3</answer>", "so it is \\boxed{3}"


@pytest.mark.parametrize(
    ("source", "text", "said"),
    [
        (StyleSource(postfix="Answer:"), TAGGED, ["postfix: 'Answer:'", "'<answer>3</answer>'", "'</think><answer>'"]),
        (StyleSource(postfix="\nAnswer: "), BOXED, ["postfix: '\\nAnswer: '", r"'\\boxed{3}'", r"' \\boxed{'"]),
        (StyleSource(closing="</answer>"), BOXED, ["closing: '</answer>'", "'}'"]),
        (
            StyleSource("tags"),
            BOXED,
            ["answer_style: 0 of 16", "16 do by BeforeAnswer and Boxed", "--answer_style boxed"],
        ),
        (StyleSource("boxed"), TAGGED, ["answer_style: 0 of 16", "--answer_style tags --reasoning_style tags"]),
    ],
)
def test_what_contradicts_the_first_samples_is_told_with_the_remedy(source, text, said):
    with pytest.warns(UserWarning, match="_style") as warned:
        written(source, text)
    (message,) = [str(each.message) for each in warned]
    assert [each for each in said if each not in message] == [], message


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (StyleSource(postfix="\nAnswer: "), "So 1+2=3.\nThe answer is 3."),
        (StyleSource(postfix="</think> The result:\n<answer> "), TAGGED),
        (StyleSource(postfix="\n#### ", closing="\n\n"), "1+2=3\n#### 3"),
        (StyleSource(closing=""), BOXED),
        (StyleSource("boxed"), BOXED),
    ],
)
def test_texts_that_fit_are_taken_in_silence(source, text):
    written(source, text)


def test_a_said_style_is_held_against_what_is_said_of_its_texts():
    with pytest.warns(UserWarning, match="postfix: 'Answer: ' contradicts how completions answer"):
        style = choose_style(
            StyleSource("tags", "tags", postfix="Answer: "), FILE, scripted("no"), TOKENIZER, ["1+2="], CPU
        )
    assert style.postfix == "Answer: ", "it is the user's choice"


def test_the_first_few_samples_are_seen_before_the_others(capsys):
    seen = []

    def see(rollout, style):
        seen.append((len(rollout), sorted(rollout.group_ids.tolist()), style))

    style = written(StyleSource(), BOXED, see=see)
    assert [(count, groups) for count, groups, _ in seen] == [(4, [*range(4)]), (16, [*range(16)])]
    assert seen[1][2] == style
    assert first_of("abc") == list("abcabcabcabcabca")
    seen.clear()
    known = StyleSource("boxed", "before_answer")
    assert written(known, BOXED, see=see) == known.known(FILE)
    assert [count for count, _, _ in seen] == [4]
    seen.clear()
    with pytest.raises(ValueError, match="auto finds no answers"):
        written(StyleSource(), "hmm 1", see=see)
    assert seen[-1][0] == 32, "they can be read where none is an answer"


def test_where_no_sample_answers_as_many_more_are_drawn(capsys):
    made = []

    def rarely(prompt, index):
        made.append(prompt)
        return BOXED if len(made) == 20 else "hmm"

    sampler = ScriptedSampler(rarely, LETTERS, append_eos=True)
    style = choose_style(StyleSource(), FILE, sampler, LETTERS, [f"{n}+1=" for n in range(20)], CPU)
    assert (style.answer.styles[0], len(made)) == (Boxed(), 32)
    assert "1 of 32 samples answer by Boxed, or else in another way" in capsys.readouterr().err


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

    class Nothing(ReasoningStyle):
        ending = "</think>"

        def find(self, text: str) -> Reasoned:
            at = max(text.find(self.ending), 0)
            return Reasoned(at, at, at + len(self.ending))

    unreasoned = CompletionStyle(Nothing())
    with pytest.warns(UserWarning, match=r"no reasoning is found in them\. .*--reasoning_style"):
        run(model=model, sampler=TransformersSampler(model, TOKENIZER, 40, style=unreasoned), rewards=paid)


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


@pytest.mark.parametrize("text", ["", '{"style": ', "[]", "null", '{"style": 3}', '{"style": {"class_path": "os"}}'])
def test_damaged_settings_of_a_run_are_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"config\.json: is damaged \(.*remove the file to go on from the newest check"
    ):
        kept_style(tmp_path, {})


def test_the_class_of_a_style_that_is_gone_is_named(tmp_path):
    style = {"class_path": "mine.styles.Answer", "init_args": {}}
    (tmp_path / "config.json").write_text(json.dumps({"style": style}))
    with pytest.raises(ImportError, match=r"made with mine\.styles\.Answer, which cannot be imported; put it back"):
        kept_style(tmp_path, {})


def test_the_module_of_a_style_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "style_that_fails.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    style = {"class_path": "style_that_fails.Answer", "init_args": {}}
    (tmp_path / "config.json").write_text(json.dumps({"style": style}))
    with pytest.raises(
        ImportError, match=r"style_that_fails\.Answer, which cannot .* No module named 'a_package_that_is"
    ):
        kept_style(tmp_path, {})


def test_the_newest_checkpoint_has_the_settings_too(tmp_path):
    style, settings = CompletionStyle(answer=Boxed()), {"answer_style": None}
    model, tokenizer = load_model("embedded")
    state = TrainingState({"step": 1}, {}, settings | {"style": plain(style)})
    save_checkpoint(tmp_path, 1, state, model, tokenizer)
    assert kept_style(tmp_path, settings) == style


def test_a_style_made_of_several_is_named_once(capsys):
    sampler = ScriptedSampler(lambda prompt, index: "hmm", LETTERS)
    choose_style(StyleSource(), FILE, sampler, LETTERS, ["1+1="], CPU)
    assert capsys.readouterr().err.count("or else in another way") == 1
