"""What an evaluation keeps of the task's knowledge: classes of tokens, and the shortest sufficient lengths."""

from dataclasses import dataclass

import pytest

from iapo.comparison.running.evaluate import known_to_task
from iapo.embedded import TokenClass
from iapo.tasks import EmbeddedTask, Task


@dataclass(frozen=True)
class Words(Task):
    """A task of one's own that labels words by their length and knows some of the shortest lengths."""

    classes = ("short", "long")
    limit: int = 3
    shortest: int | None = 2

    def rows(self, split="train", seed=0, limit=None):
        return [{"prompt": "a", "answer": "b"}]

    def classifier(self, tokenizer, prompts):
        names = "short", "long", "huge"
        return lambda prompt, text: [names[len(word) // self.limit] for word in text.split()]

    def shortest_length(self, prompt, tokenizer):
        return self.shortest if prompt == "p" else 1


@dataclass(frozen=True)
class Unlabeled(Task):
    """A task that knows nothing of completions."""

    def rows(self, split="train", seed=0, limit=None):
        return [{"prompt": "a", "answer": "b"}]


def test_classes_are_means_over_samples_and_all_are_named():
    known = known_to_task(Words(), None, ["p", "q"], [("aa bbbb", "cc"), ("dd", "ee")])
    assert known == {"classes": {"short": [1.0, 1.0], "long": [0.5, 0.0]}, "shortest": [2, 1]}


def test_what_a_task_does_not_know_is_absent():
    assert known_to_task(Unlabeled(), None, ["p"], [("aa",)]) == {}
    assert set(known_to_task(Words(shortest=None), None, ["p", "q"], [("aa",), ("bb",)])) == {"classes"}


def test_a_label_that_the_task_does_not_name_is_an_error():
    with pytest.raises(ValueError, match=r"got the labels \['huge'\], want .* \['short', 'long'\]"):
        known_to_task(Words(limit=1), None, ["p"], [("ab",)])


def test_the_embedded_task_names_its_classes(embedded_tokenizer):
    known = known_to_task(EmbeddedTask(), embedded_tokenizer, ["3+8="], [("<think>3+8=1 hmm ",)])
    assert list(known["classes"]) == [str(kind) for kind in TokenClass]
    assert {name: each for name, each in known["classes"].items() if each != [0.0]} == {
        "needed": [5.0],
        "filler": [1.0],
        "format": [1.0],
    }
    assert known["shortest"] == [EmbeddedTask().shortest_length("3+8=", embedded_tokenizer)]
