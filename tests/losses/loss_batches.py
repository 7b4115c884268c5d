"""Random inputs of losses, and their gradients, for tests."""

import torch
from hypothesis import strategies as st

NAMES = ("policy_logprobs", "old_logprobs", "advantages", "loss_mask", "ref_logprobs")


@st.composite
def inputs(draw, dtype=torch.float64, spread=0.3):
    """A batch, some of it without a token in the loss; log-ratios of standard deviation ``spread`` nats."""
    batch, token = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31 - 1)))

    def values(scale=1.0):
        return torch.randn(batch, token, generator=generator, dtype=dtype) * scale

    density = draw(st.sampled_from([0.0, 0.5, 1.0]))
    policy = values() - 2
    return {
        "policy_logprobs": policy,
        "old_logprobs": policy.detach() + values(spread),
        "advantages": values(),
        "loss_mask": torch.rand(batch, token, generator=generator) < density,
        "ref_logprobs": policy.detach() + values(spread),
    }


def gradient(loss, tensors, denominator=None):
    """The output of a loss, and its gradient with respect to ``policy_logprobs``."""
    tensors = dict(tensors)
    tensors["policy_logprobs"] = tensors["policy_logprobs"].detach().requires_grad_()
    denominator = loss.denominator(tensors["loss_mask"]) if denominator is None else denominator
    output = loss(**tensors, denominator=denominator)
    return output, torch.autograd.grad(output.loss, tensors["policy_logprobs"])[0]


def lists(tensors):
    """The tensors as nested lists, in the order of ``NAMES``, for naive loops."""
    return [tensors[name].tolist() for name in NAMES]
