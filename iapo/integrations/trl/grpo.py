"""Train with `IAPOTrainer` from the command line, with the flags of TRL's GRPO script and those of `IAPOConfig`::

    python -m iapo.integrations.trl.grpo --model_name_or_path Qwen/Qwen3-0.6B --dataset_name my/data \\
        --reward_funcs iapo.rewards.MathAnswer --output_dir out --alpha 0.5

``--config file.yaml`` reads flags from a file; flags after it override it.
"""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from trl import DatasetMixtureConfig, ModelConfig, TrlParser, get_dataset, get_peft_config, get_quantization_config
from trl import rewards as trl_rewards
from trl.scripts.grpo import GRPOScriptArguments

from iapo.integrations.trl.config import IAPOConfig
from iapo.integrations.trl.trainer import IAPOTrainer


def make_parser() -> TrlParser:
    """The parser: TRL's own flags, and those of `IAPOConfig`."""
    return TrlParser((GRPOScriptArguments, IAPOConfig, ModelConfig, DatasetMixtureConfig))


def reward_function(name: str) -> Callable[..., Any]:
    """The reward function of a flag: one of `trl.rewards` by name, or any by import path; a class is instantiated.

    Raises:
        ValueError: nothing of that name.
    """
    module, _, attribute = name.rpartition(".")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    found = getattr(importlib.import_module(module) if module else trl_rewards, attribute, None)
    if not callable(found):
        raise ValueError(f"reward_funcs: got {name!r}, want a name in trl.rewards or an import path, module.function")
    return found() if isinstance(found, type) else found


def main(
    script_args: GRPOScriptArguments,
    training_args: IAPOConfig,
    model_args: ModelConfig,
    dataset_args: DatasetMixtureConfig,
) -> IAPOTrainer:
    """Train and save, as `trl grpo` does.

    Raises:
        ValueError: no reward functions, or no data.
    """
    from datasets import load_dataset

    rewards: list[Any] = [reward_function(name) for name in script_args.reward_funcs or ()]
    if script_args.reward_model_name_or_path:
        rewards.append(script_args.reward_model_name_or_path)
    if not rewards:
        raise ValueError("reward_funcs: got none, want at least one; the first says which completions are right")
    if dataset_args.datasets:
        data = get_dataset(dataset_args)
    elif script_args.dataset_name:
        data = load_dataset(
            script_args.dataset_name, name=script_args.dataset_config, streaming=script_args.dataset_streaming
        )
    else:
        raise ValueError("dataset_name: got None, want a data set with a column prompt")
    training_args.model_init_kwargs = {
        "revision": model_args.model_revision,
        "trust_remote_code": training_args.trust_remote_code,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
        **(training_args.model_init_kwargs or {}),
    }
    evaluated = training_args.eval_strategy != "no"
    trainer = IAPOTrainer(
        model_args.model_name_or_path,
        rewards,
        training_args,
        train_dataset=data[script_args.dataset_train_split],
        eval_dataset=data[script_args.dataset_test_split] if evaluated else None,
        quantization_config=get_quantization_config(model_args),
        peft_config=get_peft_config(model_args),
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
    trainer.save_model(training_args.output_dir)
    if training_args.push_to_hub:
        trainer.push_to_hub(dataset_name=script_args.dataset_name)
    return trainer


if __name__ == "__main__":
    main(*make_parser().parse_args_and_config(fail_with_unknown_args=False))
