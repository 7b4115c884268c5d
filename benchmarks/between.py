"""Models between a base and what training made of it: where on the straight line the length falls, and where accuracy.

    python benchmarks/between.py runs/models/smollm2_words_small \\
      runs/smollm2_words_small/leave_out/default/seed-0/checkpoint-30 --output runs/between --shares 0.25 0.5 0.75
    iapo eval --models "[runs/between/0.25,runs/between/0.5,runs/between/0.75]" --precision bf16 --samples 2 \\
      --ks "[1,2]" --data runs/models/smollm2_words_small/problems.jsonl --split test --problems 128 \\
      --sampler.max_new_tokens 256

A share of 0 is the base, 1 the trained model (Wortsman et al., arXiv 2109.01903, equation 1). Where a model between the
two is better than the last, the training went too far: a lower learning rate, or more completions an update.
"""

import argparse
from pathlib import Path

import torch

from iapo.policy import load_model


def write_between(base: str, trained: str, shares: list[float], output: Path) -> None:
    """Write ``(1 - share) * base + share * trained`` for each share, into ``output/SHARE``, as a model to load.

    Raises:
        ValueError: a share outside of 0 to 1, or models whose parameters differ in name or shape.
    """
    for share in shares:
        if not 0 <= share <= 1:
            raise ValueError(f"shares: got {share}, want 0 (the base) to 1 (the trained model)")
    before, tokenizer = load_model(base)
    model, _ = load_model(trained)
    start, end = before.state_dict(), {name: value.clone() for name, value in model.state_dict().items()}
    if {name: value.shape for name, value in start.items()} != {name: value.shape for name, value in end.items()}:
        raise ValueError(f"trained: the parameters of {trained} are not those of the base {base}")
    for share in shares:
        mixed = {name: torch.lerp(start[name].double(), end[name].double(), share).to(end[name].dtype) for name in end}
        model.load_state_dict(mixed)
        model.save_pretrained(output / f"{share:g}")
        tokenizer.save_pretrained(output / f"{share:g}")


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="a model, as --model of iapo train takes it")
    parser.add_argument("trained", help="a checkpoint of the run")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 0.75])
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(given)
    write_between(arguments.base, arguments.trained, arguments.shares, arguments.output)


if __name__ == "__main__":
    main()
