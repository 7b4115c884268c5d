"""The styles in which answers are read, one of each kind."""

from iapo.styles import USUAL_STYLE, AnswerTags, Boxed, Hashes, JsonField, LastLine, Phrase

EVERY = [AnswerTags(), Boxed(), Hashes(), Phrase(), JsonField(), LastLine(), USUAL_STYLE.answer]
