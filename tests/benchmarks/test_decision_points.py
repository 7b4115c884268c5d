"""Decision points: where lines begin, and what choosing one kind of line and not another is worth."""

import random
from collections import defaultdict

import lines
import pytest
import torch
from decision_points import START, Decision, Span, contrast, decisions_of, spans_of
from demonstrations import KINDS, demonstrate, read_lines, written
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer
from word_problems import sample_problems

from iapo.advantages import GroupRelative
from iapo.estimators import NoInformation
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer
from iapo.rewards import MathAnswer
from iapo.rollout import ScriptedSampler
from iapo.training import Components, UpdateSettings, prepare

FILLER, STEP = "filler before a step", "step"


@pytest.fixture(scope="module")
def tokenizer(text_model):
    return AutoTokenizer.from_pretrained(text_model)


@pytest.mark.parametrize("seed", range(3))
def test_spans_are_the_lines(tokenizer, seed):
    text = written(demonstrate(sample_problems(1, 50, seed)[0], random.Random(seed)))
    ids = tokenizer.encode(text + tokenizer.eos_token)
    spans = spans_of(ids, tokenizer)

    assert [span.kind for span in spans] == [line.kind for line in read_lines(text)]
    assert [span.begin for span in spans] == [0, *(span.end for span in spans[:-1])]
    assert spans[-1].end == len(ids)
    shown = [tokenizer.decode(ids[span.begin : span.end]) for span in spans]
    assert all(each.endswith("\n") for each in shown[:-1])
    assert "".join(shown) == text + tokenizer.eos_token


def test_empty_lines_have_no_decision(tokenizer):
    assert spans_of([], tokenizer) == []
    kinds = [span.kind for span in spans_of(tokenizer.encode("<think>\n\n1 + 1 = 2\n"), tokenizer)]
    assert kinds in (["opening", "other", "step"], ["opening", "step"])


def test_a_decision_knows_the_steps_and_the_line_before():
    spans = [Span("opening", 0, 2), Span(FILLER, 2, 5), Span(STEP, 5, 9), Span("check", 9, 12), Span(STEP, 12, 13)]
    assert decisions_of([[], spans]) == [
        Decision(1, 0, "opening", 0, START),
        Decision(1, 2, FILLER, 0, "opening"),
        Decision(1, 5, STEP, 0, FILLER),
        Decision(1, 9, "check", 1, STEP),
        Decision(1, 12, STEP, 1, "check"),
    ]


@st.composite
def rollouts(draw, kinds=KINDS):
    """Lines of one token each, of several groups, and their decisions."""
    groups = draw(st.lists(st.integers(0, 3), min_size=1, max_size=12))
    rows = [draw(st.lists(st.sampled_from(kinds), max_size=6)) for _ in groups]
    spans = [[Span(kind, token, token + 1) for token, kind in enumerate(row)] for row in rows]
    return groups, decisions_of(spans)


@given(rollouts(kinds=("check", STEP)), st.integers(0, 1000))
def test_it_finds_the_difference_whatever_the_places_are_worth(drawn, seed):
    groups, decisions = drawn
    rng, worth = random.Random(seed), {"check": -0.25, STEP: 0.5}
    values = torch.zeros(len(groups), 6, dtype=torch.float64)
    places = defaultdict(lambda: rng.uniform(-5, 5))
    for each in decisions:
        place = groups[each.row], each.steps, each.behind
        values[each.row, each.token] = places[place] + worth[each.kind]
    found = contrast(values, decisions, groups, "check")
    if found.difference is not None:
        assert found.difference.value == pytest.approx(-0.75)
        assert found.push.value < 0
    else:
        assert found.push.value == 0


@given(rollouts(), st.sampled_from(KINDS), st.sampled_from([None, START, STEP]), st.integers(0, 1000))
def test_it_is_the_regression_within_places(drawn, kind, behind, seed):
    groups, decisions = drawn
    values = torch.randn(len(groups), 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    cells, chosen = defaultdict(list), []
    for each in decisions:
        if behind is None or each.behind == behind:
            value = float(values[each.row, each.token])
            cells[groups[each.row], each.steps, each.behind].append((float(each.kind == kind), value))
            chosen += [value] if each.kind == kind else []
    above = below = 0.0
    for cell in cells.values():
        mean = sum(x for x, _ in cell) / len(cell)
        above += sum((x - mean) * value for x, value in cell)
        below += sum((x - mean) ** 2 for x, _ in cell)
    found = contrast(values, decisions, groups, kind, behind)
    assert (found.difference is None) == (below == 0)
    assert found.push.value == pytest.approx(above / len(groups), abs=1e-12)
    if found.difference is not None:
        assert found.difference.value == pytest.approx(above / below)
    assert (found.chosen.value if chosen else None) == (pytest.approx(sum(chosen) / len(chosen)) if chosen else None)


def test_where_all_choose_alike_there_is_no_difference():
    decisions = decisions_of([[Span(FILLER, 0, 1)]] * 2)
    found = contrast(torch.tensor([[1.0], [3.0]]), decisions, [0, 0], FILLER)
    assert (found.chosen.value, found.difference, found.push.value) == (2, None, 0)


def test_the_tables_of_scripted_completions(text_model, tokenizer):
    """Two problems, four completions each: with filler first they are right, without they are wrong."""
    model = AutoModelForCausalLM.from_pretrained(text_model)
    right = "<think>\nLet me go on.\n1 + 1 = 2\n</think><answer>2</answer>"
    wrong = "<think>\n1 + 1 = 3\n</think><answer>3</answer>"
    components = Components(
        ScriptedSampler(lambda prompt, index: wrong if index else right, tokenizer, append_eos=True),
        {"accuracy": MathAnswer()},
        NoInformation(),
        GroupRelative(scale="none"),
        ClippedPolicyLoss(),
        ClippedOptimizer(torch.optim.SGD(model.parameters(), lr=0.0)),
    )
    rows = [{"prompt": prompt, "answer": "2"} for prompt in ("1 + 1", "2")]
    batch = prepare(rows, model, tokenizer, components, UpdateSettings(4, 8))
    by_line, by_choice = lines.tables(batch, tokenizer)
    # One of four is right: 0.75 for it, -0.25 for each of the others.
    assert "| filler before a step | 0.25 |" in by_line
    assert "| filler before a step | opening | 0.25 | +0.750 (0.000) | +1.000 (0.000) | +0.188 (0.000) |" in by_choice
    assert "| step | opening | 0.75 | -0.250 (0.000) | -1.000 (0.000) | -0.188 (0.000) |" in by_choice
    assert "| step | filler before a step | 0.25 | +0.750 (0.000) | – | +0.000 (0.000) |" in by_choice


def test_the_command_reads_settings_as_training_does(text_model, tmp_path):
    problems, output = tmp_path / "problems.jsonl", tmp_path / "lines.md"
    problems.write_text('{"prompt": "1 + 1 =", "answer": "2"}\n{"prompt": "2 + 1 =", "answer": "3"}\n')
    flags = ["--sampler.max_new_tokens", "12", "--device", "cpu", "--assigner.alpha", "0.5"]
    sizes = ["--count", "1", "--samples", "2", "--output", str(output)]
    lines.main([str(text_model), str(text_model), "--problems", str(problems), *sizes, *flags])

    text = output.read_text()
    assert text.startswith("Before training: accuracy 0.000, ")
    assert "After training: " in text
    assert "| line | of a completion | tokens | nats |" in text


def test_flags_that_are_not_read_are_refused(tmp_path, capsys):
    files = [str(tmp_path), "--problems", str(tmp_path / "problems.jsonl"), "--output", str(tmp_path / "lines.md")]
    with pytest.raises(SystemExit):
        lines.main([*files, "--group_size=4", "--lenient", "true"])
    assert "--group_size, --lenient: not read here" in capsys.readouterr().err
