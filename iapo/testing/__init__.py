"""Tests for components of one's own: the contract of each interface as checks, and data to test with.

``check_estimator``, ``check_advantage_assigner``, ``check_policy_loss``, ``check_policy_optimizer`` and
``check_sampler`` run all checks of an interface on a component; ``parametrize_with_checks`` makes each of them a test
of its own; ``check_information`` compares an estimator that claims to be exact with enumeration. Needs the extra
``testing``.
"""

from importlib.util import find_spec

if find_spec("hypothesis") is None:
    raise ModuleNotFoundError(
        "hypothesis is missing: install the extra, pip install 'iapo[testing]'", name="hypothesis"
    )

from iapo.testing.assigners import AssignerContract, assigner_checks, check_advantage_assigner
from iapo.testing.checks import Check
from iapo.testing.estimators import EstimatorContract, check_estimator, estimator_checks
from iapo.testing.information import InformationContract, check_information
from iapo.testing.losses import LossContract, check_policy_loss, loss_checks
from iapo.testing.models import VOCAB, tiny_llama, tiny_tokenizer
from iapo.testing.optimizers import OptimizerContract, check_policy_optimizer, optimizer_checks
from iapo.testing.parametrize import checks_of, parametrize_with_checks
from iapo.testing.samplers import SamplerContract, check_sampler, sampler_checks
from iapo.testing.strategies import loss_inputs, reward_batches, rollouts, token_signals
from iapo.testing.tabular import TabularLanguageModel

__all__ = [
    "VOCAB",
    "AssignerContract",
    "Check",
    "EstimatorContract",
    "InformationContract",
    "LossContract",
    "OptimizerContract",
    "SamplerContract",
    "TabularLanguageModel",
    "assigner_checks",
    "check_advantage_assigner",
    "check_estimator",
    "check_information",
    "check_policy_loss",
    "check_policy_optimizer",
    "check_sampler",
    "checks_of",
    "estimator_checks",
    "loss_checks",
    "loss_inputs",
    "optimizer_checks",
    "parametrize_with_checks",
    "reward_batches",
    "rollouts",
    "sampler_checks",
    "tiny_llama",
    "tiny_tokenizer",
    "token_signals",
]
