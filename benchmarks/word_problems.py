"""Word problems in the manner of GSM8K, of two to four steps and small numbers, and the steps that solve them.

A problem begins with what somebody has, goes on with gains and losses, one by one or in groups, and may end with a
comparison or with sharing. `reasoning_gym` has such problems too (`gsm_symbolic`), without steps that a demonstration
could be made of, and with numbers in the hundreds.
"""

import random
from dataclasses import dataclass, field

from demonstrations import Problem, Result, Step

NAMES = (
    *(("Tom", "He"), ("Anna", "She"), ("Ben", "He"), ("Lily", "She"), ("Sam", "He"), ("Mia", "She")),
    *(("Max", "He"), ("Emma", "She"), ("Jack", "He"), ("Sara", "She")),
)
THINGS = ("apples", "pens", "cards", "coins", "marbles", "books", "stickers", "shells")
HOLDERS = ("bags", "boxes", "packs")
FRIENDS = ("a friend", "a neighbor", "a cousin")
LEAST = 30
"""Five holders of six things."""
ATTEMPTS = 50
"""How often a problem is tried anew for each one that is wanted."""


def sample_problems(count: int, largest: int, seed: int) -> list[Problem]:
    """Distinct problems, those of two, three and four steps equally often.

    Problems are the same if their steps are, whatever the names and things: so none of the problems that a policy is
    trained on was demonstrated.

    Args:
        count: how many.
        largest: no number and no result is larger.
        seed: of the generator.

    Raises:
        ValueError: there are too few, or ``largest`` is below 30.
    """
    if largest < LEAST:
        raise ValueError(f"--largest: got {largest}, want at least {LEAST}, so many as five packs of six are")
    rng = random.Random(seed)
    found: dict[tuple, Problem] = {}
    for _ in range(ATTEMPTS * count):
        if len(found) == count:
            break
        problem = _problem(rng, 2 + len(found) % 3, largest)
        if problem is not None:
            found.setdefault(_numbers(problem), problem)
    if len(found) < count:
        raise ValueError(
            f"--problems and --demonstrations ask for {count} distinct word problems; {len(found)} were found with "
            f"--largest {largest}"
        )
    return list(found.values())


def _numbers(problem: Problem) -> tuple:
    return tuple((step.left, step.operator, step.right) for step in problem.steps)


@dataclass
class _Story:
    """A problem that is being told."""

    rng: random.Random
    name: str
    pronoun: str
    thing: str
    largest: int
    text: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    has: int | Result = 0
    """What the person has by now: a number that the text says, or the result of a step."""

    @property
    def value(self) -> int:
        return Problem("", tuple(self.steps)).results[self.has.step] if isinstance(self.has, Result) else self.has

    def step(self, left: int | Result, operator: str, right: int | Result, sentence: str) -> Result:
        """Add a step."""
        self.steps.append(Step(left, operator, right, sentence))
        return Result(len(self.steps) - 1)

    def begin(self, grouped: bool) -> None:
        """What there is: a number, or so many in each of some holders, which is a step."""
        if not grouped:
            self.has = self.rng.randint(3, 20)
            self.text.append(f"{self.name} has {self.has} {self.thing}.")
            return
        holders, each = self.rng.randint(2, 5), self.rng.randint(2, 6)
        holder = self.rng.choice(HOLDERS)
        self.text.append(f"{self.name} has {holders} {holder} of {each} {self.thing} each.")
        self.has = self.step(holders, "*", each, f"{self.name} has {{}} {self.thing}.")

    def move(self, grouped: bool) -> bool:
        """A gain or a loss; in groups, it is two steps. Whether there was room for it."""
        gains = self.rng.random() < 0.5
        room = min(12, self.largest - self.value if gains else self.value - 1)
        if room < (4 if grouped else 1):
            return False
        amount: int | Result
        if grouped:
            groups = self.rng.randint(2, min(4, room // 2))
            each = self.rng.randint(2, min(6, room // groups))
            told = f"buys {groups} {self.rng.choice(HOLDERS)} of {each} more" if gains else None
            told = told or f"gives {each} to each of {groups} friends"
            verb = "buys" if gains else "gives away"
            amount = self.step(groups, "*", each, f"{self.pronoun} {verb} {{}} {self.thing}.")
        else:
            amount = self.rng.randint(1, room)
            told = f"finds {amount} more" if gains else f"gives {amount} to {self.rng.choice(FRIENDS)}"
        self.text.append(f"{self.pronoun} {told}.")
        sentence = f"{'Now' if gains else 'Then'} {self.name} has {{}} {self.thing}."
        self.has = self.step(self.has, "+" if gains else "-", amount, sentence)
        return True

    def share(self) -> bool:
        """Share all of it, which is a step; the question is what each gets. Whether it can be shared."""
        parts = [part for part in range(2, 6) if self.value % part == 0 and self.value > part]
        if not parts:
            return False
        part = self.rng.choice(parts)
        self.text.append(f"{self.pronoun} shares the {self.thing} equally among {part} children.")
        self.text.append(f"How many {self.thing} does each child get?")
        self.step(self.has, "/", part, f"Each child gets {{}} {self.thing}.")
        return True

    def compare(self) -> bool:
        """Somebody has several times as many, which is two steps; the question is what they have together."""
        most = min(3, self.largest // self.value - 1)
        if most < 2:
            return False
        times = self.rng.randint(2, most)
        other = self.rng.choice([name for name, _ in NAMES if name != self.name])
        self.text.append(f"{other} has {times} times as many as {self.name} has now.")
        self.text.append(f"How many {self.thing} do they have together?")
        others = self.step(self.has, "*", times, f"{other} has {{}} {self.thing}.")
        self.step(self.has, "+", others, f"Together they have {{}} {self.thing}.")
        return True


def _problem(rng: random.Random, count: int, largest: int) -> Problem | None:
    """A problem of ``count`` steps; ``None`` where the numbers left no room for one."""
    (name, pronoun), thing = rng.choice(NAMES), rng.choice(THINGS)
    story = _Story(rng, name, pronoun, thing, largest)
    story.begin(grouped=rng.random() < 0.4)
    ending = rng.choice(("have", "have", "share", "compare"))
    last = {"have": 0, "share": 1, "compare": 2}[ending]
    while (left := count - last - len(story.steps)) > 0:
        if not story.move(grouped=left > 1 and rng.random() < 0.5):
            return None
    if left < 0 or (last and not (story.share() if ending == "share" else story.compare())):
        return None
    if not last:
        story.text.append(f"How many {thing} does {name} have now?")
    return Problem(" ".join(story.text) + "\n", tuple(story.steps))
