"""verl's trainers with token advantages: by what a step is worth to the text behind it, or tells of the answer.

python -m verl.trainer.main_ppo algorithm.adv_estimator=iapo trainer.v1.trainer_mode=iapo_sync ...

verl finds `iapo.integrations.verl.plugin` by itself, through the entry points of the group ``verl.plugins``.
"""
