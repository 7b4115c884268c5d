"""Dynamic sampling: what goes, what stays as it was, and that it ends."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.rewards.scores import Scores
from iapo.training.resample import Resampling, Samples, uninformative

GROUP = 3


class Source:
    """Prompts without end, whose groups get the rewards of a script: ``True`` for a group that teaches something."""

    def __init__(self, script: list[bool], batch: int = 4) -> None:
        self.script, self.batch, self.given, self.sampled = iter(script), batch, 0, 0

    def fresh(self) -> list[dict]:
        self.given += self.batch
        return [{"prompt": str(index)} for index in range(self.given - self.batch, self.given)]

    def sample(self, rows) -> Samples:
        """Completions whose every token is the number of their prompt, as long as that number's last digit, plus 1."""
        numbers = [int(row["prompt"]) for row in rows for _ in range(GROUP)]
        lengths = torch.tensor([number % 10 + 1 for number in numbers])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        ids = torch.tensor(numbers)[:, None] * mask
        rollout = rollout_of(ids, mask, torch.arange(len(rows)).repeat_interleave(GROUP))
        self.sampled += int(mask.sum())
        informative = [next(self.script) for _ in rows]
        total = torch.tensor([float(each and index == 0) for each in informative for index in range(GROUP)])
        return Samples(rows, rollout, Scores(total, torch.ones(len(total), dtype=torch.bool), {"r": total.tolist()}))


def rollout_of(ids, mask, groups):
    from iapo import Rollout

    flipped = mask.flip(1)
    return Rollout(
        prompt_ids=ids.flip(1),
        prompt_mask=flipped,
        completion_ids=ids,
        completion_mask=mask,
        reasoning_mask=mask,
        group_ids=groups,
        sampler_logprobs=-ids.float(),
    )


def contents(samples: Samples) -> dict[int, list]:
    """What every group holds, padding aside, by its id."""
    found: dict[int, list] = {}
    rollout, scores = samples.rollout, samples.scores
    for i, group in enumerate(rollout.group_ids.tolist()):
        tokens = rollout.completion_ids[i][rollout.completion_mask[i]].tolist()
        prompt = rollout.prompt_ids[i][rollout.prompt_mask[i]].tolist()
        logprobs = rollout.sampler_logprobs[i][rollout.completion_mask[i]].tolist()
        row = (tokens, prompt, logprobs, float(scores.total[i]), scores.by_function["r"][i])
        found.setdefault(group, []).append((samples.rows[group]["prompt"], *row))
    return found


def naive(script: list[bool], batch: int, rounds: int) -> tuple[list[int], int, int, int]:
    """Prompts of the batch in the end, rounds, groups thrown away, and tokens sampled by all calls."""
    script, state, given = list(script), [], batch
    state = [(number, script.pop(0)) for number in range(batch)]
    sampled = [number for number, _ in state]
    done = thrown = 0
    while done < rounds and any(not good for _, good in state):
        fresh, done = list(range(given, given + batch)), done + 1
        given += batch
        for index, (_, good) in enumerate(state):
            if not good:
                state[index] = (fresh.pop(0), script.pop(0))
                sampled.append(state[index][0])
                thrown += 1
    return [number for number, _ in state], done, thrown, sum(GROUP * (number % 10 + 1) for number in sampled)


@given(
    batch=st.integers(1, 5),
    rounds=st.integers(1, 4),
    script=st.lists(st.booleans(), min_size=25, max_size=25),
)
def test_against_the_loop(batch, rounds, script):
    source = Source(script, batch)
    before = source.sample(source.fresh())
    after = Resampling(rounds, source.fresh)(before, source.sample)
    prompts, done, thrown, tokens = naive(script, batch, rounds)
    assert [row["prompt"] for row in after.samples.rows] == [str(number) for number in prompts]
    assert (after.rounds, after.groups) == (done, thrown)
    assert int(before.rollout.completion_mask.sum()) + after.tokens == source.sampled == tokens
    assert source.given == batch * (1 + done), "prompts taken"
    found = contents(after.samples)
    assert sorted(found) == list(range(batch))
    for group, number in enumerate(prompts):
        length = number % 10 + 1
        for row in found[group]:
            assert row[:4] == (str(number), [number] * length, [number] * length, [-float(number)] * length)
        assert len(found[group]) == GROUP
    old = contents(before)
    for group in set(range(batch)) - set(uninformative(before).tolist()):
        assert found[group] == old[group], "what teaches something is untouched"


def test_it_ends_and_keeps_what_still_teaches_nothing():
    source = Source([False] * 100)
    after = Resampling(3, source.fresh)(source.sample(source.fresh()), source.sample)
    assert (after.rounds, after.groups) == (3, 12)
    assert len(uninformative(after.samples)) == 4
    assert len(after.samples.rollout) == 12


def test_where_all_teaches_nothing_is_sampled():
    source = Source([True] * 4)
    before = source.sample(source.fresh())
    after = Resampling(3, source.fresh)(before, source.sample)
    assert after.samples is before
    assert (after.rounds, after.groups, after.tokens, source.given) == (0, 0, 0, 4)


@pytest.mark.parametrize(
    ("total", "scored", "flat"),
    [
        ([1.0, 1.0, 1.0], [True, True, True], True),
        ([1.0, 1.0, 0.0], [True, True, True], False),
        ([1.0, 1.0, 0.0], [True, True, False], True),
        ([1.0, 0.0, 0.0], [True, False, False], True),
        ([0.0, 0.0, 0.0], [False, False, False], True),
    ],
)
def test_only_scored_completions_say_whether_a_group_teaches(total, scored, flat):
    samples = Source([True]).sample([{"prompt": "3"}])
    changed = dataclasses.replace(
        samples, scores=Scores(torch.tensor(total), torch.tensor(scored), samples.scores.by_function)
    )
    assert uninformative(changed).tolist() == ([0] if flat else [])


def test_no_rounds_is_an_error():
    with pytest.raises(ValueError, match="rounds: got 0"):
        Resampling(0, list)
