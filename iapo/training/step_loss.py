"""The loss of an update, one micro-batch at a time."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from iapo.interfaces import PolicyLoss
from iapo.training.batches import MicroBatch
from iapo.training.learning import check_learned, check_nothing_learned
from iapo.types import LossOutput


@dataclass(frozen=True, eq=False)
class StepLoss:
    """A loss with all that it reads of an update's completions, but for the policy's log-probabilities.

    Args:
        loss: computes the loss of a micro-batch.
        advantages: of the tokens of all completions.
        loss_mask: the tokens that enter the loss.
        denominator: what the summed loss is divided by, of all completions.
        old_logprobs: of the policy that sampled, nats; ``None``: those of the policy as it is called.
        ref_logprobs: of the reference policy, nats, if there is one.
        sampler_logprobs: of the sampler, nats, if the loss reads them.
    """

    loss: PolicyLoss
    advantages: Float[Tensor, "batch token"]
    loss_mask: Bool[Tensor, "batch token"]
    denominator: Float[Tensor, ""]
    old_logprobs: Float[Tensor, "batch token"] | None
    ref_logprobs: Float[Tensor, "batch token"] | None
    sampler_logprobs: Float[Tensor, "batch token"] | None

    def __call__(
        self, batch: MicroBatch, policy_logprobs: Float[Tensor, "rows some"]
    ) -> tuple[LossOutput, Float[Tensor, ""]]:
        """The output of the loss on a micro-batch, and the value to go backward from.

        Nothing of a micro-batch that stands in (`MicroBatch.counts`) is in the loss mask, and its value is 0.

        Args:
            batch: which completions.
            policy_logprobs: theirs, nats, as wide as the longest of them.

        Raises:
            ValueError: the loss has no gradient where it should have one, or one where it should have none.
        """
        cells = batch.rows, slice(policy_logprobs.shape[1])

        def cut(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[cells]

        old = cut(self.old_logprobs)
        if not batch.learns:
            policy_logprobs.requires_grad_()  # for `check_nothing_learned`; nothing is behind them
        output = self.loss(
            policy_logprobs=policy_logprobs,
            old_logprobs=policy_logprobs.detach() if old is None else old,
            advantages=self.advantages[cells],
            loss_mask=self.loss_mask[cells] & batch.counts,
            denominator=self.denominator,
            ref_logprobs=cut(self.ref_logprobs),
            sampler_logprobs=cut(self.sampler_logprobs),
        )
        check = check_learned if batch.learns else check_nothing_learned
        check(self.loss, output.loss, policy_logprobs)
        return output, output.loss if batch.counts else 0 * (output.loss + policy_logprobs.sum())
