"""Components that verl's configuration names, made without verl: jobs of verl itself are in the folder beside."""

import pytest

from iapo.advantages import GFPO
from iapo.embedded import model_path
from iapo.estimators import Refined
from iapo.integrations.verl.section import read_section
from iapo.policy.loading import load_tokenizer


def parts_of(**given):
    tokenizer = load_tokenizer(str(model_path()))
    section = read_section(given, temperature=0.7)
    return section.token_advantages(tokenizer, micro_batch=2, eos_ids={1}, max_new_tokens=8)


def test_a_component_by_its_name_or_import_path():
    for name in ("GFPO", "iapo.advantages.GFPO"):
        found = parts_of(assigner={"class_path": name, "init_args": {"keep": 2}})
        assert isinstance(found.assigner, GFPO)
        assert found.assigner.keep == 2


def test_an_estimator_gets_what_follows_from_other_options():
    inner = {"class_path": "iapo.estimators.AnswerLikelihood"}
    found = parts_of(
        signal="answer_likelihood",
        estimator={"class_path": "iapo.estimators.Refined", "init_args": {"estimator": inner}},
    )
    assert isinstance(found.estimator, Refined)
    assert found.estimator.estimator.temperature == 0.7


def test_a_component_of_a_plain_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from iapo.advantages import GroupRelative\n\n\nclass Mine(GroupRelative):\n    pass\n")
    found = parts_of(assigner=f"{file}:Mine")
    assert type(found.assigner).__name__ == "Mine"
    with pytest.raises(
        ValueError, match=rf"^iapo.assigner: got .*{file}:Yours.*: {file}:Yours: mine.py has no 'Yours'"
    ):
        parts_of(assigner=f"{file}:Yours")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("GFPO", "assigner: iapo.advantages.GFPO has no default for keep, want iapo.assigner.init_args.keep, or"),
        (
            {"class_path": "InformationAware", "init_args": {"outcome": "GFPO"}},
            "GFPO has no default for keep, want iapo.assigner.init_args.outcome.init_args.keep, or",
        ),
        ("iapo.advantages.Nonsense", "assigner: no assigner is called 'Nonsense'"),
        ("nothing.Assigner", "assigner: there is no module 'nothing'"),
        (3, "assigner: got 3, want an object of AdvantageAssigner"),
        ({"class_path": "GFPO", "init_args": {"keep": "x"}}, "assigner.keep: got x, want a whole number"),
        ({"class_path": "GFPO", "init_args": {"kep": 2}}, "assigner: iapo.advantages.GFPO has no parameter 'kep'"),
        (
            {"class_path": "GFPO", "init_args": [1]},
            "assigner: got {'class_path': 'GFPO', 'init_args': [1]}, want an object",
        ),
        (
            {"class_path": "InformationAware", "init_args": {"outcome": "RLOO", "alpha": "x"}},
            "assigner.alpha: got x, want a number or an object of Schedule",
        ),
    ],
    ids=str,
)
def test_one_that_cannot_be_made(given, said):
    with pytest.raises(ValueError, match=r"^iapo.assigner: got .*, which cannot be made: ") as error:
        parts_of(assigner=given)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
