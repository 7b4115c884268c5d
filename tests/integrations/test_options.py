"""The options that all engines have: the components that follow from them, and what is refused."""

from dataclasses import dataclass

import pytest
from transformers import AutoTokenizer

from iapo.advantages import GivenOutcome, GroupRelative, InformationAware, LeaveOutPriced
from iapo.embedded import model_path
from iapo.estimators import AnswerLikelihood, LeaveOut, NextTokenEntropy, Refined
from iapo.integrations.options import TokenAdvantageOptions
from iapo.styles import USUAL_STYLE

TOKENIZER = AutoTokenizer.from_pretrained(model_path())


@dataclass
class Options(TokenAdvantageOptions):
    """As in the configuration of an engine, which has the temperature."""

    temperature: float = 0.7


def test_the_assigner():
    assert Options().assigner() == LeaveOutPriced(GivenOutcome())
    assert Options(alpha=0.3, credit="to_go").assigner() == LeaveOutPriced(GivenOutcome(), alpha=0.3, credit="to_go")
    answer = Options(signal="answer_likelihood", information_scale="none")
    assert answer.assigner() == InformationAware(GivenOutcome(), scale="none")
    others = {"discount": 0.5, "applies_to": "all", "per_group": 2}
    found = Options(exploration_weight=0.25, information_center="batch", **others).assigner()
    assert found == LeaveOutPriced(GivenOutcome(), beta=0.25, center="batch", **others)


def test_the_estimator():
    left_out = Options(step_lines=False).estimator(TOKENIZER)
    assert isinstance(left_out, LeaveOut)
    assert (left_out.temperature, left_out.boundaries.steps) == (0.7, Options(step_lines=False).steps())
    asking = Options(signal="answer_likelihood", answer_style="tags").estimator(TOKENIZER)
    assert asking == AnswerLikelihood.from_text(TOKENIZER, "</think><answer>", "</answer>", temperature=0.7)
    sentences = Options(signal="answer_likelihood", answer_style="tags", probe_at="sentences", step_lines=False)
    refined = sentences.estimator(TOKENIZER)
    assert isinstance(refined, Refined)
    assert (refined.estimator, refined.boundaries.steps) == (asking, sentences.steps())
    with pytest.raises(ValueError, match="answer, postfix: set, and signal='leave_out' asks for no answer"):
        Options(answer="reference", postfix="So: ").estimator(TOKENIZER)
    with pytest.raises(ValueError, match="step_patterns: set, and probe_at='tokens' asks after every token"):
        Options(signal="answer_likelihood", step_patterns=["Wait"]).estimator(TOKENIZER)


def test_how_completions_are_written():
    assert Options().style() == USUAL_STYLE
    assert not Options().says_style
    boxed = Options(answer_style="boxed", reasoning_style="before_answer")
    assert boxed.says_style
    assert boxed.style().answer_in("2+2=4, so \\boxed{4}") == "4"
    assert boxed.style().postfix.endswith("\\boxed{")
    style = Options(postfix="So: ", closing=".").style()
    assert (style.postfix, style.closing, Options(closing=".").style().closing) == ("So: ", ".", ".")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signal": "answer"}, "signal: got 'answer'"),
        ({"alpha": -0.1}, "alpha: got -0.1"),
        ({"discount": 2.0}, "discount: got 2.0"),
        ({"per_group": 0}, "per_group: got 0"),
        ({"exploration_weight": float("nan")}, "exploration_weight: got nan"),
        ({"credit": "theirs"}, "credit: got 'theirs'"),
        ({"information_center": "token"}, "information_center: got 'token'"),
        ({"information_scale": "max"}, "information_scale: got 'max'"),
        ({"answer": "any"}, "answer: got 'any'"),
        ({"answer_style": "xml"}, "answer_style: got 'xml'"),
        ({"reasoning_style": "auto"}, "reasoning_style: got 'auto'"),
        ({"probe_at": "words"}, "probe_at: got 'words'"),
        ({"step_lines": False, "step_sentences": False}, "step_lines, step_sentences: got False and False"),
        ({"step_patterns": ["("]}, r"step_patterns: got '\('"),
        ({"step_patterns": "Wait"}, "step_patterns: got 'Wait', want a list"),
        ({"step_patterns": 5}, "step_patterns: got 5, want a list"),
        ({"step_patterns": [1]}, r"step_patterns: got \[1\], want a list"),
        ({"correct_above": "high"}, "correct_above: got 'high', want a finite number"),
        ({"postfix": ""}, "postfix: got an empty text"),
        ({"estimate_batch_size": 0}, "estimate_batch_size: got 0, want None or an integer of at least 1"),
    ],
)
def test_an_option_out_of_its_range_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_lines": "no"}, "step_lines: got 'no', want True or False"),
        ({"step_sentences": None}, "step_sentences: got None, want True or False"),
        ({"postfix": 5}, "postfix: got 5, want a text or None"),
        ({"closing": False}, "closing: got False, want a text or None"),
    ],
)
def test_an_option_of_another_kind_is_named_as_the_user_gave_it(options, message):
    with pytest.raises(TypeError, match=f"^{message}$"):
        Options(**options).check()


def test_options_in_their_ranges():
    Options().check()
    Options(signal="answer_likelihood", information_scale="std", estimate_batch_size=4, postfix="So: ").check()


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"alpha": 0.2}, [GroupRelative()], "alpha: set in the configuration, and given is GroupRelative, with settin"),
        ({"probe_at": "sentences"}, [NextTokenEntropy()], "probe_at: .* and given is NextTokenEntropy, which asks for"),
        ({"step_lines": False}, [NextTokenEntropy()], "step_lines: .* and given is NextTokenEntropy, with settings of"),
        ({"postfix": "So: "}, [GroupRelative()], "postfix: .* and given is GroupRelative, which reads no information"),
        (
            {"postfix": "So: "},
            [AnswerLikelihood((1,)), GroupRelative()],
            "postfix: .* given is GroupRelative, which reads",
        ),
        (
            {"signal": "answer_likelihood"},
            [AnswerLikelihood((1,)), InformationAware()],
            "signal: .* and given is AnswerLikelihood and InformationAware, with settings of its own",
        ),
    ],
)
def test_an_option_that_nobody_reads_is_refused(options, given, message):
    with pytest.raises(ValueError, match=message):
        Options(**options).refuse_options_of(*given)


def test_an_option_that_somebody_reads_is_none_to_refuse():
    Options(alpha=0.2, postfix="So: ").refuse_options_of(None, AnswerLikelihood((1,)))
    Options(signal="answer_likelihood", probe_at="sentences").refuse_options_of(InformationAware(), None)
    Options(signal="answer_likelihood").refuse_options_of(NextTokenEntropy())
