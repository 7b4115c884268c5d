"""Demonstrations and the shortest reasoning, their tokens and their labels."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iapo.embedded import (
    TokenClass,
    build_tokenizer,
    classify,
    demonstrate,
    generate_problems,
    parse_answer,
    parse_prompt,
    shortest_length,
    shortest_reasoning,
    split_symbols,
)
from iapo.embedded.reasoning import HABITS, Habits
from iapo.embedded.symbols import ANSWER, END_THINK, SYMBOLS

TOKENIZER = build_tokenizer(256)
seeds = st.integers(0, 2**32)
pieces = st.lists(st.sampled_from(SYMBOLS) | st.text(max_size=3), max_size=40)
NEEDED = {TokenClass.NEEDED, TokenClass.FORMAT, TokenClass.ANSWER}


def sampled(seed):
    rng = random.Random(seed)
    problem = generate_problems(1, seed)[0]
    return problem, demonstrate(problem, rng)


def classes(prompt, completion):
    return " ".join(label[:2] for label in classify(prompt, completion))


@given(seed=seeds)
def test_tokens_give_a_demonstration_back(seed):
    problem, text = sampled(seed)
    ids = TOKENIZER.encode(problem.prompt + text)
    assert TOKENIZER.decode(ids) == problem.prompt + text
    assert TOKENIZER.unk_token_id not in ids
    assert TOKENIZER.encode(problem.prompt) + TOKENIZER.encode(text) == ids


@given(texts=pieces)
def test_pieces_are_the_tokens_of_any_text(texts):
    text = "".join(texts)
    parts = split_symbols(text)
    assert "".join(parts) == text
    assert TOKENIZER.encode(text) == TOKENIZER.convert_tokens_to_ids(parts)


def test_early_exit_postfix_is_two_tokens():
    assert TOKENIZER.encode("</think><answer>") == TOKENIZER.convert_tokens_to_ids([END_THINK, ANSWER])
    assert len({TOKENIZER.pad_token_id, TOKENIZER.bos_token_id, TOKENIZER.eos_token_id, TOKENIZER.unk_token_id}) == 4


@given(seed=seeds)
def test_a_demonstration_is_right_unless_a_slip_went_uncaught(seed):
    problem, text = sampled(seed)
    assert demonstrate(problem, random.Random(seed)) == text
    labels = classify(problem.prompt, text)
    assert TokenClass.OTHER not in labels
    if TokenClass.SLIP not in labels:
        assert parse_answer(text) == problem.answer
    assert parse_answer(text) in set("0123456789")


@given(seed=seeds)
def test_a_slip_that_is_always_caught_never_reaches_the_answer(seed):
    problem, text = sampled(seed)
    parts, labels = split_symbols(text), classify(problem.prompt, text)
    slips = labels.count(TokenClass.SLIP)
    catches = sum(p == " check " and k is TokenClass.CATCH for p, k in zip(parts, labels, strict=True))
    assert catches <= slips
    if catches == slips:
        assert parse_answer(text) == problem.answer


def test_demonstrations_are_long_and_have_every_habit():
    rng = random.Random(0)
    problems = generate_problems(2000, 0)
    labels = [classify(p.prompt, demonstrate(p, rng) + "<eos>") for p in problems]
    shortest = sum(shortest_length(p, TOKENIZER) for p in problems)
    assert sum(map(len, labels)) > 2 * shortest
    assert {label for one in labels for label in one} == set(TokenClass) - {TokenClass.OTHER}


@pytest.mark.parametrize("habits", [HABITS, Habits(shortcut=(0.2, 0.8), slip=0.1, shortcut_slip=0.15)])
def test_slips_come_at_the_stated_rates(habits):
    rng = random.Random(0)
    wrong, results = {"needed": 0, "shortcut": 0}, {"needed": 0, "shortcut": 0}
    for problem in generate_problems(2000, 1):
        text = demonstrate(problem, rng, habits)
        labels, parts = classify(problem.prompt, text), split_symbols(text)
        for i in range(1, len(parts)):
            if parts[i - 1] == "=" and labels[i - 1] in results:
                results[labels[i - 1]] += 1
                wrong[labels[i - 1]] += labels[i] is TokenClass.SLIP
    assert wrong["needed"] / results["needed"] == pytest.approx(habits.slip, abs=0.01)
    assert wrong["shortcut"] / results["shortcut"] == pytest.approx(habits.shortcut_slip, abs=0.05)


def test_habits_are_followed():
    rng = random.Random(0)
    habits = Habits(filler=(0, 0), repeat=(0, 0), checked=(0, 0), shortcut=(0, 0), slip=0.0)
    for problem in generate_problems(50, 1):
        assert demonstrate(problem, rng, habits) == shortest_reasoning(problem)
    with_shortcuts = Habits(shortcut=(1, 1))
    assert "shortcut" in classify("3+8-2=", demonstrate(parse_prompt("3+8-2="), rng, with_shortcuts))


@pytest.mark.parametrize("chances", [{"shortcut": (0.5, 0.2)}, {"slip": 1.5}, {"filler": (-0.1, 0.2)}])
def test_impossible_chances_are_refused(chances):
    with pytest.raises(ValueError, match=f"^{next(iter(chances))}: got"):
        Habits(**chances)


@given(seed=seeds)
def test_nothing_can_be_left_out_of_the_shortest_reasoning(seed):
    problem, _ = sampled(seed)
    text = shortest_reasoning(problem)
    parts = split_symbols(text)
    assert parse_answer(text) == problem.answer
    assert set(classify(problem.prompt, text)) <= NEEDED
    assert len(parts) + 1 == shortest_length(problem, TOKENIZER) == 4 * problem.difficulty + 7
    for i in range(len(parts)):
        shorter = "".join(parts[:i] + parts[i + 1 :])
        assert not set(classify(problem.prompt, shorter)) <= NEEDED or parse_answer(shorter) is None or i == 0


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (
            "<think>3+8=1-2=9*4=6</think><answer>6</answer><eos>",
            "fo ne ne ne ne ne ne ne ne ne ne ne ne ne fo fo an fo fo",
        ),
        ("<think> hmm  so 3 hmm +8=1", "fo fi fi ne fi ne ne ne ne"),
        ("<think>3+8=1 again 3+8=1 so -2=9", "fo ne ne ne ne ne re re re re re re fi ne ne ne ne"),
        ("<think>3+8=1 check 3+8=1 ok ", "fo ne ne ne ne ne ch ch ch ch ch ch ch"),
        ("<think>3+8=2 check 3+8=1 fixed -2=9", "fo ne ne ne ne sl ca ca ca ca ca ca ca ne ne ne ne"),
        ("<think>3+8=2 check 3+8=2 ok -2=0", "fo ne ne ne ne sl ch ch ch ch ch ch ch ne ne ne ne"),
        ("<think>3+8=1 check 3+8=2 fixed ", "fo ne ne ne ne ne ch ch ch ch ch sl ch"),
        ("<think>3+8=2 again 3+8=2", "fo ne ne ne ne sl re re re re re re"),
        ("<think>3+8=2 again 3+8=1", "fo ne ne ne ne sl ca ca ca ca ca ca"),
        ("<think>3+8-2=9*4=6", "fo ne sh sh sh sh sh sh ne ne ne ne"),
        ("<think>3+8-2=7 check 3+8=1-2=9 fixed ", "fo ne sh sh sh sh sh sl" + 11 * " ca"),
        ("<think>3+9=2-2=0", "fo ne sl sl sl sl ne ne ne ne"),
        ("<think>4+8=2", "fo sl ne ne ne ne"),
        ("<think>3+8=1-2=9*4=6+1=7", "fo" + 13 * " ne" + 4 * " ot"),
        ("<think>3+-=1", "fo ne ot ot ot ot"),
        ("<think>3 check +8=1", "fo ne ot ne ne ne ne"),
        ("</think><answer>66</answer>", "fo fo an ot ot"),
        ("<think></think>6</answer>", "fo fo ot ot"),
        ("hello", "ot ot ot ot ot"),
        ("", ""),
    ],
)
def test_labels_by_hand(completion, expected):
    assert classes("3+8-2*4=", completion) == expected


@given(texts=pieces, seed=seeds)
def test_any_text_gets_one_label_a_token(texts, seed):
    problem, demonstration = sampled(seed)
    parts = split_symbols(demonstration)
    cut = seed % (len(parts) + 1)
    for text in ("".join(texts), "".join([*parts[:cut], *texts, *parts[cut:]])):
        assert len(classify(problem.prompt, text)) == len(TOKENIZER.encode(text))


def test_parse_answer():
    assert parse_answer("<think>1</think><answer>12</answer>") == "12"
    assert parse_answer("<think>1</think><answer>1") is None
    assert parse_answer("<answer>1</answer>") is None
    assert parse_prompt("3+8=").answer == "1"
