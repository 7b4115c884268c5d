"""Estimators of each token's information about the answer, in nats. The interface is `iapo.MIEstimator`."""

from iapo.estimators.answer_counts import AnswerCounts
from iapo.estimators.answer_entropy import AnswerEntropy
from iapo.estimators.bisected import Bisected
from iapo.estimators.boundaries import Boundaries, ClassBoundaries, EveryTokens, StepBoundaries
from iapo.estimators.calibrated import Calibrated
from iapo.estimators.early_exit import EarlyExitEntropy
from iapo.estimators.exact import ExactInformation
from iapo.estimators.leave_out import LeaveOut
from iapo.estimators.likelihood import AnswerLikelihood
from iapo.estimators.monte_carlo import MonteCarloInformation
from iapo.estimators.next_token import NextTokenEntropy
from iapo.estimators.none import NoInformation
from iapo.estimators.oar_gradient import OARGradient
from iapo.estimators.oar_perturbation import OARPerturbation
from iapo.estimators.prefix_estimator import PrefixEstimator
from iapo.estimators.refined import Refined
from iapo.estimators.text_boundaries import TextBoundaries
from iapo.policy.forward import UnsupportedModelError

__all__ = [
    "AnswerCounts",
    "AnswerEntropy",
    "AnswerLikelihood",
    "Bisected",
    "Boundaries",
    "Calibrated",
    "ClassBoundaries",
    "EarlyExitEntropy",
    "EveryTokens",
    "ExactInformation",
    "LeaveOut",
    "MonteCarloInformation",
    "NextTokenEntropy",
    "NoInformation",
    "OARGradient",
    "OARPerturbation",
    "PrefixEstimator",
    "Refined",
    "StepBoundaries",
    "TextBoundaries",
    "UnsupportedModelError",
]
