"""Estimators of what each token told about the answer, in nats. The interface is `iapo.MIEstimator`."""

from iapo.estimators.answer_entropy import AnswerEntropy
from iapo.estimators.attention import UnsupportedModelError
from iapo.estimators.early_exit import EarlyExitEntropy
from iapo.estimators.likelihood import AnswerLikelihood
from iapo.estimators.next_token import NextTokenEntropy
from iapo.estimators.none import NoInformation

__all__ = [
    "AnswerEntropy",
    "AnswerLikelihood",
    "EarlyExitEntropy",
    "NextTokenEntropy",
    "NoInformation",
    "UnsupportedModelError",
]
