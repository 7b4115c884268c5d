"""`IAPOTrainer`: TRL's `GRPOTrainer` with information-aware advantages."""

import textwrap
import time
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer
from trl.extras.profiling import profiling_context
from trl.trainer.utils import get_config_model_id

from iapo.integrations.core import Credited, TokenAdvantages
from iapo.integrations.distributed import Distributed
from iapo.integrations.trl.config import IAPOConfig
from iapo.integrations.trl.refusals import refuse_assigner, refuse_data, refuse_groups, refuse_infinite, refuse_trainer
from iapo.interfaces import FINISHED, AdvantageAssigner, MIEstimator
from iapo.rewards import in_style

_Trainer: Any = object
"""What stands behind the mixin: a subclass of `trl.GRPOTrainer`."""


class InformationMixin(_Trainer):
    """Gives a subclass of `trl.GRPOTrainer` token advantages. It stands first among the bases::

        class MyTrainer(InformationMixin, MyGRPOTrainer): ...

    What TRL computes stays as it is: completions, rewards, the outcome's advantages, old and reference
    log-probabilities, the loss. Rewards alone are read otherwise where the configuration is not ``lenient`` or says a
    style. The assigner gets TRL's advantages as its outcome (`iapo.advantages.GivenOutcome`) and adds to them; the
    rewards that it gets are those of one function, which say which completions are right. An assigner with an outcome
    of its own replaces TRL's advantages.

    Args:
        args: a configuration that inherits `iapo.integrations.trl.InformationOptions`.
        estimator: measures the information; ``None``: as the configuration says.
        assigner: turns rewards and information into advantages; ``None``: as the configuration says.

    Raises:
        ValueError: what `iapo.integrations.trl.refusals` says.
        FloatingPointError: in training, a reward function that returned an infinite score; it is named.
    """

    reward_funcs: list[Any]

    def __init__(
        self, *args: Any, estimator: MIEstimator | None = None, assigner: AdvantageAssigner | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._judge = refuse_trainer(self)
        if self.args.says_style:
            functions = {str(index): function for index, function in enumerate(self.reward_funcs)}
            self.reward_funcs = [*in_style(functions, self.args.style()).values()]
        self.args.refuse_options_of(estimator, assigner)
        self._token_advantages = {
            mode: TokenAdvantages(
                self._tokenizer,
                self.args.estimator(self._tokenizer) if estimator is None else estimator,
                self.args.assigner() if assigner is None else assigner,
                self.temperature,
                self.args.estimate_batch_size or size,
                self.eos_token_ids,
                self.args.style(),
                self.max_completion_length,
                self.args.answer,
                self.args.correct_above,
            )
            for mode, size in (
                ("train", self.args.per_device_train_batch_size),
                ("eval", self.args.per_device_eval_batch_size),
            )
        }
        refuse_assigner(self, self._token_advantages["train"])
        refuse_data(self, self._token_advantages["train"].assigner.requires)

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, completion_ids_list: list[list[int]]
    ) -> Tensor:
        if not self.args.lenient:
            ends = {*self.eos_token_ids, self._tokenizer.pad_token_id}
            finished = [bool(ids) and ids[-1] in ends for ids in completion_ids_list]
            inputs = [row | {FINISHED: done} for row, done in zip(inputs, finished, strict=True)]
        self._rewards_per_func = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        refuse_infinite(self.reward_func_names, self._rewards_per_func)
        return self._rewards_per_func

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            refuse_groups(len(inputs) * self.accelerator.num_processes, self.num_generations_eval)
        output = super()._generate_and_score_completions(inputs)
        mode = "train" if self.model.training else "eval"
        if mode == "train" or self.args.information_in_eval:
            start = time.perf_counter()
            with profiling_context(self, "iapo.token_advantages"), self.accelerator.autocast():
                credited = self._credit(inputs, output, mode)
            self._metrics[mode]["iapo/time/estimate"].append(time.perf_counter() - start)
            self._hand_over(credited, output, mode)
        elif self.log_completions:
            self._log_columns(torch.full_like(output["advantages"], torch.nan), output["advantages"])
        return output

    def _credit(self, inputs: list[dict[str, Any]], output: dict[str, Any], mode: str) -> Credited:
        """The token advantages of this process's completions."""
        token_advantages, ranks = self._token_advantages[mode], Distributed()
        mask = output["completion_mask"].bool()
        written = mask & output["tool_mask"].bool() if "tool_mask" in output else mask
        count = len(mask)
        everyone = torch.arange(len(self._rewards_per_func), device=mask.device)
        group_ids = everyone // (self.num_generations if mode == "train" else self.num_generations_eval)
        references = None
        if self.args.answer == "reference":
            references = [self._reference(row) for row in inputs]
        rollout = token_advantages.read(
            output["prompt_ids"],
            output["prompt_mask"].bool(),
            output["completion_ids"],
            mask,
            ranks.own(group_ids, count),
            written,
            references,
        )
        known = {}
        if "old_per_token_logps" in output:
            known["policy_logprobs"] = output["old_per_token_logps"].masked_fill(~mask, 0)
        return token_advantages(
            self.model,
            rollout,
            ranks.own(self._rewards_per_func[:, self._judge], count),
            output["advantages"][:, None].expand(mask.shape),
            written,
            inputs,
            known,
            min(1.0, self.state.global_step / max(1, self.state.max_steps)),
            ranks,
        )

    def _reference(self, row: dict[str, Any]) -> Any:
        """The reference answer of a row of the data."""
        if self.args.answer_column not in row:
            raise ValueError(
                f"answer_column: got {self.args.answer_column!r}, and the data has the columns {sorted(row)}; with "
                "answer='reference' name the column of the answers"
            )
        return row[self.args.answer_column]

    def _hand_over(self, credited: Credited, output: dict[str, Any], mode: str) -> None:
        """Give advantages, loss mask and metrics to TRL."""
        outcome, output["advantages"] = output["advantages"], credited.advantages
        mask = output["completion_mask"]
        before = mask * output["tool_mask"] if "tool_mask" in output else mask
        if not torch.equal(credited.loss_mask, before.bool()):
            # TRL's loss reads no other masks than this one and that of the completions.
            output["tool_mask"] = credited.loss_mask.to(mask.dtype)
        output["num_items_in_batch"] = self.accelerator.gather(credited.loss_mask.sum()).sum()
        for name, value in credited.metrics.items():
            self._metrics[mode][name].append(value)
        if self.log_completions:
            information = torch.full_like(outcome, torch.nan)
            if credited.information is not None:
                information = credited.information.sum(1)
            mean = credited.advantages.sum(1) / credited.loss_mask.sum(1).clamp(min=1)
            self._log_columns(information, mean)

    def _log_columns(self, information: Tensor, advantages: Tensor) -> None:
        """Two columns of the table of completions: nats of each, and the mean of its tokens' advantages."""
        for name, values in (("iapo/information", information), ("iapo/mean_advantage", advantages)):
            self._logs["extra"][name].extend(self.accelerator.gather(values.float()).tolist())


class IAPOTrainer(InformationMixin, GRPOTrainer):
    """Information-aware policy optimization (https://huggingface.co/papers/2602.19049) by TRL's `GRPOTrainer`.

    Args:
        model, reward_funcs, args, train_dataset, ...: as of `trl.GRPOTrainer`; ``args`` is an
            `iapo.integrations.trl.IAPOConfig`.
        estimator, assigner: as of `InformationMixin`.
    """

    _tag_names = ["trl", "iapo"]  # noqa: RUF012
    _name = "IAPO"
    _paper = {  # noqa: RUF012
        "title": "IAPO: Information-Aware Policy Optimization for Token-Efficient Reasoning",
        "id": "2602.19049",
        "citation": textwrap.dedent("""\
            @article{he2026iapo,
                title  = {{IAPO: Information-Aware Policy Optimization for Token-Efficient Reasoning}},
                author = {Yinhan He and Yaochen Zhu and Mingjia Shi and Wendy Zheng and Lin Su and Xiaoqing Wang and Qi Guo and Jundong Li},
                year   = 2026,
                eprint = {arXiv:2602.19049},
            }"""),  # noqa: E501
    }

    def __init__(self, model: Any, reward_funcs: Any = None, args: IAPOConfig | None = None, **kwargs: Any) -> None:
        if args is None:
            name = model if isinstance(model, str) else get_config_model_id(model.config)
            args = IAPOConfig(f"{name.split('/')[-1]}-IAPO")
        super().__init__(model, reward_funcs, args, **kwargs)
