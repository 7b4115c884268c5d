"""What an answer says: read by its kind, and compared by it.

`readings` turns a text into records (a quantity, a time, several answers in one, a choice, words, a formula), and
`same` compares two of them. Only formulas need math-verify, which the caller provides.
"""

from iapo.rewards.answers.comparing import Formulas, formulas_of, same
from iapo.rewards.answers.expression import Expression
from iapo.rewards.answers.quantity import Quantity
from iapo.rewards.answers.reading import Answer, readings
from iapo.rewards.answers.words import Words

__all__ = ["Answer", "Expression", "Formulas", "Quantity", "Words", "formulas_of", "readings", "same"]
