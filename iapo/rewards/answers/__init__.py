"""What an answer says: read by its kind, and compared by it.

`readings` turns a text into records (a quantity, a time, several answers in one, a choice, words, a formula), and
`same` compares two of them. Only formulas need math-verify, which the caller provides.

What this package exports is all that the rewards use of it. Inside, imports go one way:

- A text is brought into one form: `notation` with `markup` and `vectors`; `phrases` removes what says nothing,
  `elsewhere` rewrites numbers of other countries, `parameters` takes off what is said of letters, and `parts`
  takes a text apart at its brackets and separators.
- Each kind of answer has its file: `choice`, `words`, `moment` (times, dates, ratios), `congruence`, `quantity` with
  `units`, `senses`, `numerals` and `read_quantity`, `sequence` with `intervals` and `difference`, and `expression` with
  `spoken`, formulas in words. `rounded` and `sentences` find these in what is written around them.
- `reading` tries the kinds in order, and `comparing` compares two answers by their kinds.
"""

from iapo.rewards.answers.comparing import Formulas, formulas_of, same
from iapo.rewards.answers.expression import Expression
from iapo.rewards.answers.quantity import Quantity
from iapo.rewards.answers.reading import Answer, readings
from iapo.rewards.answers.words import Words

__all__ = ["Answer", "Expression", "Formulas", "Quantity", "Words", "formulas_of", "readings", "same"]
