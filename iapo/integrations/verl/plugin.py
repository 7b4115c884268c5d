"""What verl loads at its import, from the entry points of the group ``verl.plugins``."""

import logging

# verl keeps the failure of a plugin to itself, and would then know neither of the names that the user gave.
try:
    import iapo.integrations.verl.trainer  # noqa: F401
except Exception as error:
    logging.getLogger("iapo").warning(
        "iapo is not available in verl, algorithm.adv_estimator=iapo and trainer_mode=iapo_sync are unknown: "
        "%s: %s (python -c 'import iapo.integrations.verl.trainer' shows where)",
        type(error).__name__,
        error,
    )
    raise
