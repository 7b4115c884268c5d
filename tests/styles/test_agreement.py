"""Whether the texts that ask for an answer fit the style that reads it."""

from dataclasses import dataclass

from iapo.styles import AnswerStyle, AnswerTags, CompletionStyle
from iapo.styles.agreement import misfits


@dataclass(frozen=True)
class Letters(AnswerStyle):
    """Reads a letter from A to E between tags, and nothing else."""

    opening: str = "<answer>"
    closing: str = "</answer>"

    def find(self, text):
        found = AnswerTags().find(text)
        return found if found is not None and text[found.start : found.stop] in tuple("ABCDE") else None


def test_texts_that_a_style_reads_answers_behind_fit_it():
    assert misfits(CompletionStyle(asks="</think>\n<answer>")) == ()
    assert misfits(CompletionStyle(asks="</think>Answer: ")) == ("asks",)


def test_of_a_style_that_reads_other_answers_nothing_is_said():
    assert misfits(CompletionStyle(answer=Letters(), asks="</think>\n<answer>")) == ()
