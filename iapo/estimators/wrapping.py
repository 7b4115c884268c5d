"""The base of estimators that probe another one."""

from iapo.interfaces import MIEstimator
from iapo.types import Rollout


class WrappingEstimator(MIEstimator):
    """Base of estimators that probe another one, their ``estimator``: they measure as it does.

    A subclass has the attribute ``estimator`` and implements `probe`.
    """

    estimator: MIEstimator

    @property
    def information_sign(self) -> int:  # type: ignore[override]
        """That of the wrapped estimator."""
        return self.estimator.information_sign

    @property
    def temperature(self) -> float | None:  # type: ignore[override]
        """That of the wrapped estimator."""
        return self.estimator.temperature

    @property
    def measures(self) -> bool:  # type: ignore[override]
        """Whether the wrapped estimator does."""
        return self.estimator.measures

    @property
    def reads_answer(self) -> bool:  # type: ignore[override]
        """Whether the wrapped estimator does."""
        return self.estimator.reads_answer

    @property
    def takes_reference(self) -> bool:
        """Whether the wrapped estimator does."""
        return self.estimator.takes_reference

    @property
    def probe_label(self) -> str:
        """That of the wrapped estimator."""
        return self.estimator.probe_label

    def with_groups(self, rollout: Rollout) -> Rollout:
        """What the wrapped estimator needs of whole groups."""
        return self.estimator.with_groups(rollout)
