"""What `iapo --version` names."""

from iapo.cli import main


def test_versions_name_each_engine_that_the_library_works_with(capsys):
    assert main(["--version"]) == 0
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert named[:3] == ["iapo", "torch", "transformers"]
    assert {"accelerate", "deepspeed", "peft", "trl", "verl", "vllm"} <= set(named)
