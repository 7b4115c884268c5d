"""TRL's `GRPOTrainer` with token advantages: by what a step is worth to the text behind it, or tells of the answer.

from iapo.integrations.trl import IAPOConfig, IAPOTrainer

trainer = IAPOTrainer("Qwen/Qwen3-0.6B", reward_funcs=MathAnswer(), args=IAPOConfig("out"), train_dataset=dataset)
trainer.train()
"""

from iapo.integrations.trl.config import IAPOConfig, InformationOptions
from iapo.integrations.trl.trainer import IAPOTrainer, InformationMixin

__all__ = ["IAPOConfig", "IAPOTrainer", "InformationMixin", "InformationOptions"]
