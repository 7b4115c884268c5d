"""Credit rules on the curve of prefix values, one method a file: where the answer is there, and what follows it.

What an estimator measures after each prefix (`iapo.MIEstimator.prefix_values`) comes as ``signals.prefix_values``;
`iapo.ops.sufficient_prefix` finds the prefix.
"""

from iapo.advantages.sufficient.budget_returns import BudgetReturns
from iapo.advantages.sufficient.crop import Crop
from iapo.advantages.sufficient.drift import Drift
from iapo.advantages.sufficient.first_correct_chunk import FirstCorrectChunk
from iapo.advantages.sufficient.record_gain import RecordGain
from iapo.advantages.sufficient.serial_exits import SerialExits
from iapo.advantages.sufficient.step_potential import StepPotential
from iapo.advantages.sufficient.tail_penalty import TailPenalty
from iapo.advantages.sufficient.turn_gain import TurnGain

__all__ = [
    "BudgetReturns",
    "Crop",
    "Drift",
    "FirstCorrectChunk",
    "RecordGain",
    "SerialExits",
    "StepPotential",
    "TailPenalty",
    "TurnGain",
]
