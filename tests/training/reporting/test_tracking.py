"""Metrics in TensorBoard's files, where it is installed."""

import pytest

from iapo.training.reporting.tracking import tracked


def test_without_a_tracker_nothing_is_written(tmp_path):
    with tracked("none", tmp_path, {}, 0) as track:
        track(1, {"reward": 0.5})
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_has_each_step_once_after_a_resume(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for done, steps in ((0, (1, 2, 3)), (1, (2, 3))):  # the second process goes on from a checkpoint of step 1
        with tracked("tensorboard", tmp_path, {"seed": 0}, done) as track:
            for step in steps:
                track(step, {"reward": step / 10, "iapo/time/sample": 1.0})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(each.step, round(each.value, 3)) for each in events.Scalars("reward")] == [(1, 0.1), (2, 0.2), (3, 0.3)]
