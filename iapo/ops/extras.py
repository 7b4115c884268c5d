"""Packages that only an extra of this library installs."""

from importlib.util import find_spec


def check_installed(package: str, extra: str, remedy: str = "") -> None:
    """Raise ``ModuleNotFoundError`` if a package is missing; it names the extra.

    Args:
        package: as it is imported.
        extra: of this library.
        remedy: what else can be done, behind the message.
    """
    if find_spec(package) is None:
        raise ModuleNotFoundError(
            f"{package} is missing: install the extra, pip install 'iapo[{extra}]'{remedy}", name=package
        )
