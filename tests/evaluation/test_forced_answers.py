"""Reasoning that is cut at a budget, with answers known beforehand, and with the embedded model."""

import pytest
import torch
from transformers import AutoTokenizer

from iapo.embedded import generate_problems
from iapo.embedded import rows as embedded_rows
from iapo.evaluation import EvaluationResult, ForcedAnswers, evaluate
from iapo.policy import load_model
from iapo.rollout import CompactingSampler, ScriptedSampler, TransformersSampler
from iapo.styles import AnswerTags, Boxed, CompletionStyle, Hashes, JsonField, Phrase

FORCED = ForcedAnswers("</think><answer>", "</answer>")
TEXTS = {
    "1+2=": ["<think>1+2=3</think><answer>3</answer>", "<think>1 hmm +2=4</think><answer>4</answer>"],
    "2+2=": ["<think></think><answer>4</answer>", "<think>2+2=4 well  so "],
}
"""Reasoning of 5, 6, 0 and 7 tokens; the last one was cut before it ended. Right, wrong, right, wrong."""

ROWS = [{"prompt": prompt, "answer": answer} for prompt, answer in (("1+2=", "3"), ("2+2=", "4"))]


def exact(completions, answer, **_):
    return [float(f"<answer>{a}</answer>" in text) for text, a in zip(completions, answer, strict=True)]


class Recorded:
    """The texts as completions; behind a postfix, what a rule says about the text before it."""

    def __init__(self, tokenizer, rule):
        self.tokenizer, self.rule, self.asked = tokenizer, rule, []

    def complete(self, prompt, index):
        if isinstance(prompt, str):
            text = TEXTS[prompt][index]
            return text if not text.endswith("</answer>") else text + self.tokenizer.eos_token
        self.asked.append(self.tokenizer.decode(prompt))
        return self.rule(self.asked[-1])


def found(
    tokenizer, rule, forced=FORCED, kind=ScriptedSampler, reward=exact, batch=None
) -> tuple[EvaluationResult, list[str]]:
    """The evaluation, and the prefixes that were asked for an answer."""
    recorded = Recorded(tokenizer, rule)
    sampler = kind(recorded.complete, tokenizer)
    samplers = {"tokenizer": tokenizer, "sampler": sampler, "greedy": sampler}
    return evaluate(ROWS, **samplers, rewards={"r": reward}, samples=2, batch=batch, forced=forced), recorded.asked


def budgets(*budgets: int, **options) -> ForcedAnswers:
    return ForcedAnswers("</think><answer>", "</answer>", budgets, **options)


def three(text: str) -> str:
    return "3</answer>"


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_what_is_asked_and_what_is_right_at_each_budget(embedded_tokenizer, batch):
    result, asked = found(embedded_tokenizer, three, budgets(0, 2, 5, 6), batch=batch)
    postfix = "</think><answer>"
    assert asked == [
        # Budget 0: all that reason at all; the answer is asked for at once.
        *(f"1+2=<think>{postfix}", f"1+2=<think>{postfix}", f"2+2=<think>{postfix}"),
        *(f"1+2=<think>1+{postfix}", f"1+2=<think>1 hmm {postfix}", f"2+2=<think>2+{postfix}"),
        # Budget 5: the first reasons 5 tokens and keeps its answer.
        *(f"1+2=<think>1 hmm +2={postfix}", f"2+2=<think>2+2=4{postfix}"),
        f"2+2=<think>2+2=4 well {postfix}",
    ]
    assert result.at_budget.budgets == (0, 2, 5, 6)
    assert result.at_budget.correct.tolist() == [
        [[True, True, True, True], [True, True, True, False]],
        [[True, True, True, True], [False, False, False, False]],
    ]
    assert result.correct.tolist() == [[True, False], [True, False]]
    assert result.truncated.tolist() == [[False, False], [False, True]]


def test_a_budget_above_all_lengths_gives_the_ordinary_accuracy(embedded_tokenizer):
    result, asked = found(embedded_tokenizer, three, budgets(7, 1000))
    assert len(asked) == 3, "at budget 0 alone"
    for column in (1, 2):
        assert torch.equal(result.at_budget.correct[:, :, column], result.correct)


def test_the_budgets_come_from_the_reasoning_if_none_are_given(embedded_tokenizer):
    result, _ = found(embedded_tokenizer, three)
    assert result.at_budget.budgets == (0, 1, 2, 4, 5, 7)
    assert torch.equal(result.at_budget.correct[:, :, -1], result.correct)


def test_only_the_first_samples_are_cut(embedded_tokenizer):
    result, asked = found(embedded_tokenizer, three, budgets(0, 2, samples=1))
    assert [text.split("=")[0] for text in asked] == ["1+2", "1+2"]
    assert result.at_budget.correct.tolist() == [[[True, True]], [[True, True]]]


@pytest.mark.parametrize(
    ("continuation", "right"),
    [
        ("3</answer>", True),
        ("3</answer><eos>", True),
        ("3", True),  # what ends without the closing is closed
        ("3<eos>", True),
        ("3<eos>4</answer>", True),
        ("3</answer> well <answer>4</answer>", True),  # what comes behind the closing is not read
        ("4</answer>3</answer>", False),
        ("33</answer>", False),
        ("", False),
    ],
)
def test_the_answer_ends_with_the_closing_or_the_sequence(embedded_tokenizer, continuation, right):
    seen = []

    def last(completions, answer, **_):
        seen.extend(completions)
        return exact(completions, answer)

    result, _ = found(embedded_tokenizer, lambda text: continuation, budgets(2), reward=last)
    assert result.at_budget.correct[0].tolist() == [[right, right]] * 2
    inside = continuation.split("<eos>")[0].split("</answer>")[0]
    assert f"<think>1+</think><answer>{inside}</answer>" in seen


def test_an_answer_without_end_is_closed_after_its_tokens(embedded_tokenizer):
    assert found(embedded_tokenizer, lambda text: "3 well ", budgets(answer_tokens=1))[0].at_budget.accuracy[0, 0] == 1
    assert found(embedded_tokenizer, lambda text: "3 well ", budgets(answer_tokens=2))[0].at_budget.accuracy[0, 0] == 0
    open_end = ForcedAnswers("<answer>", "", (0,), answer_tokens=3)
    assert found(embedded_tokenizer, lambda text: "3</answer> so  so ", open_end)[0].at_budget.accuracy[0, 0] == 1


@pytest.mark.parametrize(
    ("answer", "continuation", "wanted"),
    [
        (Boxed(), r"\frac{1}{2}}. So \boxed{3}", r"\frac{1}{2}"),
        (Boxed(), r"\frac{1}{2}", r"\frac{1}{2}"),
        (Boxed(), "} well}", None),
        (Phrase(), "3.14. So it is 4.", "3.14"),
        (Phrase(), "5 p.m. on Monday.", "5 p.m."),
        (Phrase(), ".5. So it is 4.", ".5"),
        (Phrase(), "**3**. Ok.", "3"),
        (JsonField(), r'a\"}b"} and', 'a"}b'),
        (Hashes(), "3 \n4", "3"),
        (AnswerTags(), "\n3\n</answer>4</answer>", "\n3\n"),
    ],
)
def test_a_closing_inside_of_an_answer_does_not_end_it(text_model, answer, continuation, wanted):
    style, tokenizer = CompletionStyle(answer=answer), AutoTokenizer.from_pretrained(text_model)

    def complete(prompt, index):
        return "well so</think>" if isinstance(prompt, str) else continuation

    sampler = ScriptedSampler(complete, tokenizer, style=style)
    seen = []

    def read(completions, **_):
        seen.extend(map(style.answer_in, completions))
        return [0.0] * len(completions)

    forced = ForcedAnswers(style.postfix, style.closing, (0,))
    samplers = {"tokenizer": tokenizer, "sampler": sampler, "greedy": sampler}
    evaluate([{"prompt": "q"}], **samplers, rewards={"read": read}, samples=1, forced=forced)
    assert seen[-1] == wanted


def test_a_closing_that_the_style_does_not_read_ends_the_answer(embedded_tokenizer):
    own = ForcedAnswers("</think><answer>", " so ", (2,))

    def begins(completions, **_):
        return [float(text.endswith("<answer>3 so ")) for text in completions]

    result, _ = found(embedded_tokenizer, lambda text: "3 so  well  so ", own, reward=begins)
    assert result.at_budget.correct[0].tolist() == [[True, True]] * 2


def test_a_sampler_may_return_prefixes_in_any_order(embedded_tokenizer):
    class Backwards(ScriptedSampler):
        def sample(self, prompts, group_size):
            rollout = super().sample(prompts, group_size)
            return rollout.select(torch.arange(len(rollout) - 1, -1, -1))

    def by_length(text: str) -> str:
        return f"{len(text) % 10}</answer>"

    every = budgets(0, 1, 2, 3, 4, 5, 6)
    plain, other = (found(embedded_tokenizer, by_length, every, kind)[0] for kind in (ScriptedSampler, Backwards))
    # Within a problem samples keep the sampler's order, which is the other way around.
    assert torch.equal(other.at_budget.correct.flip(1), plain.at_budget.correct)
    assert 0 < int(plain.at_budget.correct.sum()) < plain.at_budget.correct.numel()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"postfix": ""}, "postfix: got an empty text"),
        ({"budgets": (4, -1)}, r"budgets: got \(4, -1\), want a tuple of integers of at least 0"),
        ({"answer_tokens": 0}, "answer_tokens: got 0, want an integer of at least 1"),
        ({"samples": 0}, "samples: got 0, want None or an integer of at least 1"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ForcedAnswers(**{"postfix": "</think><answer>", "closing": "</answer>", **arguments})


@pytest.fixture(scope="module")
def evaluated():
    """The embedded model with and without budgets, and the random numbers that come next."""
    model, tokenizer = load_model("embedded")
    problems = [dict(row) for row in embedded_rows(generate_problems(4, 0, "test"))]

    def run(forced, kind=CompactingSampler) -> tuple[EvaluationResult, torch.Tensor]:
        torch.manual_seed(0)
        result = evaluate(
            problems,
            tokenizer=tokenizer,
            sampler=kind(model, tokenizer, 60),
            greedy=TransformersSampler(model, tokenizer, 10, temperature=0.0),
            rewards={"exact": exact},
            samples=4,
            batch=8,
            forced=forced,
        )
        return result, torch.rand(3)

    return run


def test_budgets_change_nothing_else_and_not_each_other(evaluated):
    (plain, numbers), (cut, after), (one, _) = (evaluated(forced) for forced in (None, budgets(0, 10, 30), budgets(30)))
    for name in ("correct", "lengths", "greedy_correct", "greedy_lengths", "truncated"):
        assert torch.equal(getattr(plain, name), getattr(cut, name))
    assert torch.equal(numbers, after)
    assert plain.at_budget is None
    assert torch.equal(cut.at_budget.correct[:, :, ::2], one.at_budget.correct)


def test_more_reasoning_answers_better(evaluated):
    result, _ = evaluated(budgets(0, 200), TransformersSampler)
    at_once, in_full = result.at_budget.accuracy.mean(0).tolist()
    assert in_full == float(result.correct.double().mean())
    assert at_once < 0.4 < in_full
