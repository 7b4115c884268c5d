"""Estimators of each token's information about the answer, in nats. The interface is `iapo.MIEstimator`."""

from iapo.estimators.answer_counts import AnswerCounts
from iapo.estimators.answer_entropy import AnswerEntropy
from iapo.estimators.boundaries import Boundaries, ClassBoundaries, StepBoundaries
from iapo.estimators.calibrated import Calibrated
from iapo.estimators.early_exit import EarlyExitEntropy
from iapo.estimators.exact import ExactInformation
from iapo.estimators.likelihood import AnswerLikelihood
from iapo.estimators.monte_carlo import MonteCarloInformation
from iapo.estimators.next_token import NextTokenEntropy
from iapo.estimators.none import NoInformation
from iapo.estimators.prefix_estimator import PrefixEstimator
from iapo.estimators.refined import Refined
from iapo.policy.forward import UnsupportedModelError

__all__ = [
    "AnswerCounts",
    "AnswerEntropy",
    "AnswerLikelihood",
    "Boundaries",
    "Calibrated",
    "ClassBoundaries",
    "EarlyExitEntropy",
    "ExactInformation",
    "MonteCarloInformation",
    "NextTokenEntropy",
    "NoInformation",
    "PrefixEstimator",
    "Refined",
    "StepBoundaries",
    "UnsupportedModelError",
]
