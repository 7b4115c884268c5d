"""Solved problems before each problem: which, how they stand there, and that they are used for nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from iapo.embedded import model_path
from iapo.tasks.few_shot import Example, choose_examples, examples_of, natural_stop, solution_column
from iapo.tasks.messages import problem_of
from iapo.tasks.splitting import split_indices
from iapo.training.configuration.problem_source import ProblemSource

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)


def rows(count: int = 12) -> list[dict[str, Any]]:
    return [{"prompt": f"{i}+1?", "answer": f"{i}+1 = <<{i}+1>>{i + 1}\n#### {i + 1}"} for i in range(count)]


@pytest.fixture
def plain() -> Any:
    return AutoTokenizer.from_pretrained(model_path())


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 4), st.lists(st.integers(0, 9), min_size=14, max_size=20))
def test_examples_are_on_neither_side_of_the_split(seed: int, count: int, held: int, numbers: list[int]) -> None:
    """Also where the data hold copies of a problem; the seed alone chooses, whatever the order of the rows."""
    data = [{"prompt": f"{n}+1?", "answer": "1"} for n in [*range(10), *numbers]]
    chosen = choose_examples(data, count, seed)
    problems = {problem_of(data[place]["prompt"]) for place in chosen}
    assert len(problems) == len(chosen) == count
    training, evaluated = split_indices(data, held, without=chosen)
    sides = [{problem_of(data[place]["prompt"]) for place in side} for side in (training, evaluated)]
    assert not sides[0] & sides[1]
    assert not problems & (sides[0] | sides[1])
    assert len(sides[0] | sides[1] | problems) == 10
    again = choose_examples(data[::-1], count, seed)
    assert [data[::-1][place]["prompt"] for place in again] == [data[place]["prompt"] for place in chosen]


def test_other_seeds_choose_others_and_too_many_are_refused() -> None:
    assert len({tuple(choose_examples(rows(), 3, seed)) for seed in range(9)}) > 1
    with pytest.raises(ValueError, match="few_shot: got 12, want fewer than the 12 distinct problems"):
        choose_examples(rows(), 12, 0)


def test_as_text_with_its_stop(plain: Any) -> None:
    source, data = ProblemSource(few_shot=2), rows()
    prompt = source.render(data[:1], plain, examples=data[3:5])[0]["prompt"]
    assert prompt == (
        "Question: 3+1?\nAnswer: 3+1 = <<3+1>>4\n#### 4\n\nQuestion: 4+1?\nAnswer: 4+1 = <<4+1>>5\n#### 5\n\n"
        "Question: 0+1?\nAnswer:"
    )
    assert source.stop(data[3:5], plain) == ("\nQuestion:",)
    own = ProblemSource(few_shot=1, prompt_template="Q: {prompt}\nA:", system_prompt="Think.")
    assert own.render(data[:1], plain, examples=data[1:2])[0]["prompt"] == (
        "Think.\n\nQ: 1+1?\nA: 1+1 = <<1+1>>2\n#### 2\n\nQ: 0+1?\nA:"
    )
    assert own.stop(data[1:2], plain) == ("\nQ:",)
    assert own.stop([], plain) == ()


def test_as_turns_of_a_chat_which_ends_them_itself(plain: Any) -> None:
    plain.chat_template = TEMPLATE
    source, data = ProblemSource(few_shot=1, system_prompt="Think.", prompt_template="{prompt}!"), rows()
    prompt = source.render(data[:1], plain, examples=data[1:2])[0]["prompt"]
    assert prompt == "<system>Think.<user>1+1?!<assistant>1+1 = <<1+1>>2\n#### 2<user>0+1?!<a>"
    assert source.stop(data[1:2], plain) == ()
    off = ProblemSource(few_shot=1, chat_template="none")
    assert off.render(data[:1], plain, examples=data[1:2])[0]["prompt"].endswith("\n\nQuestion: 0+1?\nAnswer:")
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
    found = ProblemSource(few_shot=1).render([{"prompt": talk}], plain, examples=data[1:2])[0]["prompt"]
    assert found == "<system>Be brief.<user>1+1?<assistant>1+1 = <<1+1>>2\n#### 2<user>2+2?<a>"


def test_the_column_of_solutions() -> None:
    assert solution_column(rows()) == "answer"
    assert solution_column([{"prompt": "q", "solution": "s", "answer": "1"}]) == "solution"
    for answer in ("72", "#### 72", 72, None):
        with pytest.raises(ValueError, match=r"few_shot: the data have no worked solutions.*columns are"):
            examples_of([{"prompt": "q", "answer": answer}])


def test_examples_of_conversations_are_what_the_user_asks() -> None:
    asked = {"role": "user", "content": "2+2?"}
    told = [{"role": "system", "content": "Be brief."}, asked]
    assert examples_of([{"prompt": told, "solution": " 2+2=4 "}]) == (Example("2+2?", "2+2=4"),)
    talk = [asked, {"role": "assistant", "content": "4"}, {"role": "user", "content": "And 3+3?"}]
    with pytest.raises(ValueError, match="few_shot: an example has 2 messages of the user, want one"):
        examples_of([{"prompt": talk, "solution": "3+3=6"}])


@pytest.mark.parametrize(
    ("template", "solution", "stop"),
    [
        ("{prompt}\n", "1+1", ("\n\n",)),
        ("{prompt}\n", "1+1\n\n2", ()),
        (" Problem {prompt}", "x", ("\nProblem",)),
    ],
)
def test_the_natural_stop(template: str, solution: str, stop: tuple[str, ...]) -> None:
    assert natural_stop((Example("q", solution),), template) == stop
