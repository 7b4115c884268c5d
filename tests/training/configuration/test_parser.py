"""From flags to components: what a class is given, what follows from the model and the texts, what it starts from."""

import os
from argparse import ArgumentError
from pathlib import Path

import pytest

from iapo import advantages, estimators, losses
from iapo.advantages import GroupRelative, LengthShaped
from iapo.advantages.shaping import KimiLength
from iapo.commands.flags import inspect_parser
from iapo.comparison.running.settings import instantiate, resolve
from iapo.estimators import AnswerLikelihood, LeaveOut, Refined, StepBoundaries, TextBoundaries
from iapo.training.configuration.parser import train_parser

ROOT = Path(__file__).parents[3]


def chosen(*arguments):
    parser = train_parser()
    parser.exit_on_error = False
    return parser.instantiate(parser.parse_args(list(arguments)))


@pytest.mark.parametrize("before", [(), ("--config", "configs/iapo.yaml"), ("--config", "configs/leave_out.yaml")])
def test_a_class_in_place_of_another_starts_from_its_own_defaults(before, monkeypatch):
    """Not from those of the class before, which were never asked for: the clip range of another loss, say."""
    monkeypatch.chdir(ROOT)
    for loss, assigner in (("GSPO", "GroupRelative"), ("CISPO", "InformationAware"), ("ClippedPolicyLoss", "GTPO")):
        parts = chosen(*before, "--loss", loss, "--assigner", assigner)
        assert (parts.loss, parts.assigner) == (getattr(losses, loss)(), getattr(advantages, assigner)())
    refined = chosen(*before, "--estimator", "Refined", "--estimator.estimator", "EarlyExitEntropy").estimator
    assert (refined.boundaries, refined.stride) == (None, Refined(refined.estimator).stride)


@pytest.mark.parametrize(
    ("arguments", "data"),
    [
        (["--data", "a/*.jsonl"], "a/*.jsonl"),
        (["--data", "[ab].jsonl"], "[ab].jsonl"),
        (["--data", "[a.jsonl, b/*.jsonl]"], ["a.jsonl", "b/*.jsonl"]),
        (["--data", '["*.jsonl", "b[1].jsonl"]'], ["*.jsonl", "b[1].jsonl"]),
        (["--data+", "a.jsonl"], "a.jsonl"),
        (["--data+", "a.jsonl", "--data+=b/*.jsonl"], ["a.jsonl", "b/*.jsonl"]),
        (["--data", "a.jsonl", "--data+", "[b.jsonl, c.jsonl]"], ["a.jsonl", "b.jsonl", "c.jsonl"]),
        (["--data+", "a.jsonl", "--data", "b.jsonl"], "b.jsonl"),
        (["--config", "data.yaml"], ["a.jsonl", "b/*.jsonl"]),
        (["--config", "data.yaml", "--data+", "c.jsonl"], ["a.jsonl", "b/*.jsonl", "c.jsonl"]),
    ],
)
def test_data_are_a_text_or_a_list(tmp_path, monkeypatch, arguments, data):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.yaml").write_text("data:\n- a.jsonl\n- b/*.jsonl\n")
    parser = train_parser()
    parser.exit_on_error = False
    parsed = parser.parse_args(arguments)
    assert parsed.data == data
    assert parser.parse_string(parser.dump(parsed, skip_validation=True)).data == data


def test_it_keeps_what_it_cannot_do_without():
    shaped = chosen("--assigner", "LengthShaped", "--assigner.shaping", "KimiLength").assigner
    assert shaped == LengthShaped(GroupRelative(), KimiLength())
    named = chosen("--sampler", "TransformersSampler", "--sampler.temperature", "0.5").sampler
    assert (named.keywords["max_new_tokens"], named.keywords["temperature"]) == (128, 0.5)


def test_the_same_class_by_another_name_keeps_its_arguments():
    for name in ("LeaveOutPriced", "iapo.LeaveOutPriced", "iapo.advantages.leave_out_priced.LeaveOutPriced"):
        assert chosen("--assigner.alpha", "2", "--assigner", name).assigner.alpha == 2
    assert chosen("--assigner", "GFPO", "--assigner.keep", "3", "--assigner.by", "length").assigner.keep == 3


def test_the_default_leaves_out_steps(embedded_tokenizer):
    parts = chosen()
    assert parts.assigner == advantages.LeaveOutPriced()
    assert isinstance(parts.estimator, LeaveOut)
    assert isinstance(parts.estimator.boundaries, TextBoundaries)
    assert parts.estimator.boundaries.tokenizer.get_vocab() == embedded_tokenizer.get_vocab()


@pytest.mark.parametrize("parser", [train_parser, inspect_parser])
@pytest.mark.parametrize("sampler", [(), ("--sampler", "TransformersSampler", "--sampler.max_new_tokens", "8")])
def test_estimators_get_temperature_and_tokenizer(parser, sampler, embedded_tokenizer):
    made = parser()
    arguments = ["--estimator", "LeaveOut", "--estimator.boundaries", "TextBoundaries", *sampler]
    plain = made.instantiate(made.parse_args(arguments)).estimator
    assert plain.temperature == 1.0
    assert plain.boundaries.tokenizer.get_vocab() == embedded_tokenizer.get_vocab()
    assert made.instantiate(made.parse_args([*arguments, "--sampler.temperature", "0.7"])).estimator.temperature == 0.7
    greedy = made.instantiate(made.parse_args([*arguments, "--sampler.temperature", "0"])).estimator
    assert greedy.temperature == 1.0
    inner = ["--estimator", "Refined", "--estimator.estimator", "EarlyExitEntropy", *sampler]
    assert made.instantiate(made.parse_args([*inner, "--sampler.temperature", "0.7"])).estimator.temperature == 0.7


@pytest.mark.parametrize("parser", [train_parser, inspect_parser])
@pytest.mark.parametrize("name", ["AnswerLikelihood", "AnswerEntropy", "EarlyExitEntropy"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_estimators_get_their_tokens_from_texts(parser, name, wrapped, embedded_tokenizer):
    texts = {"postfix": "<answer>", "closing": "</answer> "}
    arguments = [word for flag, text in texts.items() for word in (f"--{flag}", text)]
    inner = ("--estimator", "Refined", "--estimator.estimator", name, "--estimator.stride", "3")
    arguments += inner if wrapped else ("--estimator", name)
    estimator = parser().instantiate(parser().parse_args(arguments)).estimator
    if wrapped:
        assert (type(estimator), estimator.stride) == (Refined, 3)
        estimator = estimator.estimator
    assert type(estimator) is getattr(estimators, name)
    found = {text: getattr(estimator, f"{text}_ids") for text in texts if hasattr(estimator, f"{text}_ids")}
    assert found == {text: tuple(embedded_tokenizer.encode(texts[text])) for text in found}
    assert len(found) == (1 if name == "EarlyExitEntropy" else 2)


def test_boundaries_are_chosen_by_name():
    arguments = ["--estimator", "Refined", "--estimator.estimator", "AnswerLikelihood"]
    arguments += ["--estimator.boundaries", "StepBoundaries", "--estimator.boundaries.surprisal", "0.3"]
    estimator = train_parser().instantiate(train_parser().parse_args(arguments)).estimator
    assert estimator.boundaries == StepBoundaries(surprisal=0.3)


def test_a_wrapped_estimator_comes_from_a_file(tmp_path):
    inner = "{class_path: AnswerLikelihood, init_args: {chunk: 5}}"
    file = tmp_path / "settings.yaml"
    file.write_text(f"estimator: {{class_path: Refined, init_args: {{stride: 4, estimator: {inner}}}}}\n")
    parts = train_parser().instantiate(train_parser().parse_args(["--config", str(file)]))
    postfix, closing = parts.estimator.estimator.postfix_ids, parts.estimator.estimator.closing_ids
    expected = Refined(AnswerLikelihood(postfix, closing, chunk=5), stride=4)
    assert postfix
    assert parts.estimator == expected
    assert instantiate(resolve([f"--config={file}"], "here"))["estimator"] == expected


TEXTS = ["####", "#### ", "a # b", "1.0", "yes", "'x'", "Question: ", "~", "[x]", "{prompt}", "- a", ""]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_the_text_that_was_given(text, tmp_path):
    """On the command line and in a file, of a command and of a component: never a comment, a number or nothing."""
    import yaml

    parser = train_parser()
    parser.exit_on_error = False
    flags = ["--postfix", text, "--prompt_template", text, f"--system_prompt={text}", "--answer_style", "Phrase"]
    path = tmp_path / "settings.yaml"
    style = {"class_path": "iapo.styles.Phrase", "init_args": {"opening": text}}
    content = {"postfix": text, "prompt_template": text, "system_prompt": text, "answer_style": style}
    path.write_text(yaml.safe_dump(content))
    for arguments in ([*flags, "--answer_style.opening", text], ["--config", str(path)]):
        found = parser.parse_args(arguments)
        assert (found.postfix, found.prompt_template, found.system_prompt) == (text, text, text)
        assert found.answer_style.init_args.opening == text
        again = parser.parse_string(parser.dump(found))
        assert (again.postfix, again.answer_style.init_args.opening) == (text, text)


def test_null_is_no_text_and_stop_takes_one_text_or_several():
    parser = train_parser()
    parser.exit_on_error = False
    assert parser.parse_args(["--postfix=null"]).postfix is None
    for text, expected in (("####", "####"), ("\n\nQuestion:", "\n\nQuestion:"), ("['a', '# b']", ("a", "# b"))):
        assert parser.parse_args(["--sampler.stop", text]).sampler.init_args.stop == expected


def test_lenient_is_a_flag():
    parser = train_parser()
    assert [parser.parse_args(flags).lenient for flags in ([], ["--lenient"], ["--lenient=false"])] == [0, 1, 0]


@pytest.mark.parametrize("flag", ["--config", "--assigner"])
@pytest.mark.parametrize("named", [True, False])
def test_a_pipe_of_settings_is_not_waited_for(tmp_path, flag, named):
    """One with a name waited for its writer; that of a shell was empty when it was read again, and said nothing."""
    reading, writing = os.pipe()
    os.close(writing)
    path = f"/dev/fd/{reading}"
    if named:
        path = str(tmp_path / "pipe")
        os.mkfifo(path)
    with pytest.raises((ValueError, ArgumentError), match=f"config: {path} is a pipe, want a file"):
        chosen(flag, path)
    os.close(reading)
