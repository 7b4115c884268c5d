"""A bounded price on what could have been left out: the default of `iapo train`."""

from dataclasses import dataclass

from iapo.advantages.information_aware import Credit, InformationAware
from iapo.advantages.normalization import Scale
from iapo.advantages.schedules import Schedule


@dataclass(frozen=True)
class LeaveOutPriced(InformationAware):
    """`InformationAware` as it fits `iapo.estimators.LeaveOut`: ``A_t = outcome + alpha * p^2 * (n_t - mean of n)``.

    ``n_t = 1 - exp(-max(N_t, 0) / 10)``, ``N_t`` the estimate in nats, is near 1 for a token whose step the rest of the
    completion needs, and 0 for one whose step could have been left out. The mean is over the tokens of the group's
    correct completions, which alone get the term; ``p`` is the share of the group that is correct. So what could have
    been left out costs at most ``alpha``, and little where a problem is rarely solved.

    Only the defaults differ from `InformationAware`'s, which fit information about the answer. They were chosen on the
    embedded task (see the study in the documentation).

    References:
        After IAPO, arXiv 2602.19049; the signal, its bound and the brake are ours.
    """

    alpha: float | Schedule = 0.5
    credit: Credit = "own"
    saturation: float | None = 10.0
    scale: Scale = "none"
    solve_rate_power: float = 2.0
