"""What the trainings of a comparison began with: digests of the data and of the model, so that all have the same."""

from pathlib import Path

from iapo.comparison.running.plan import Plan
from iapo.comparison.running.problems import problem_source
from iapo.ops.json_files import read_sealed, write_sealed
from iapo.policy.files import files_digest
from iapo.tasks.stream import digest_of


def check_begun(plan: Plan, folder: Path, begun: bool) -> None:
    """Compare data and model with those that the trainings of a folder had, whose digests it keeps in ``begun.json``.

    Args:
        plan: of the comparison.
        folder: of the comparison.
        begun: whether there are trainings in it.

    Raises:
        ValueError: they have changed, so that finished runs may have been trained on what is held out now, and those
            to come would be trained on other problems or from another model; or ``begun.json`` is damaged.
    """
    settings, path = plan.evaluation.settings, folder / "begun.json"
    source = problem_source(settings)
    seeds = (*plan.tuning.seeds, *plan.reporting_seeds) if source.resolve().seeded else (0,)
    kept = _kept_in(path) if begun and path.exists() else {}
    model = {"model": files_digest(settings["model"], settings["trust_remote_code"])}
    rows = {str(seed): str(digest_of(source.load(seed))) for seed in seeds}
    if any(kept.get(seed, each) != each for seed, each in rows.items()):
        raise ValueError(
            f"output: {folder} holds runs that were trained on other rows of {source.resolve()} than there are now; "
            "put the data back as they were, or name another output"
        )
    if kept.get("model", model["model"]) != model["model"]:
        raise ValueError(
            f"output: {folder} holds runs that began from other files of {settings['model']} than there are now; put "
            "the model back as it was, or name another output"
        )
    write_sealed(path, kept | rows | model)


def _kept_in(path: Path) -> dict[str, str]:
    """The digests in ``begun.json``."""
    try:
        return read_sealed(path)
    except ValueError as error:
        raise ValueError(
            f"{error}, want the digests of data and model that the trainings began with; put the file back, or remove "
            "it if neither has changed since"
        ) from error
