"""What a machine without a network needs: wheels, and weights in parts that each fit a limited transfer.

    python -m benchmarks.gpu.pack wheels wheels                    # into a folder of less than 64 MiB
    python -m benchmarks.gpu.pack split model/model.safetensors    # model.safetensors.part-000 and so on, and checksums
    python -m benchmarks.gpu.pack join model/model.safetensors     # the file again, from its parts

Wheels are those that `iapo` and its tests need beside torch and transformers, for the Python there (`--python 3.12`).
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

PACKAGES = (
    *("einops", "jaxtyping", "wadler-lindig", "beartype", "jsonargparse[signatures]", "docstring-parser"),
    *("typeshed-client", "importlib-resources", "rich", "markdown-it-py", "mdurl", "pygments", "accelerate", "psutil"),
    *("math-verify", "latex2sympy2-extended", "antlr4-python3-runtime==4.13.2", "sympy", "mpmath<1.4", "peft"),
    *("matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pillow", "pyparsing", "python-dateutil", "six"),
    "tzdata",
    *("pytest", "iniconfig", "pluggy", "packaging", "hypothesis", "sortedcontainers", "typing-extensions"),
)
"""By themselves, without what they depend on: that is listed too, or comes with torch and transformers."""
LIMIT = 2**26
PART = 60 * 2**20


def wheels(folder: Path, python: str) -> None:
    """Collect the wheels, and the library's own, in place of those that are there.

    Raises:
        SystemExit: together they are larger than one transfer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()  # of another version, pip would refuse both
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    root = Path(__file__).parents[2]
    constraints = ["-c", str(root / "constraints.txt")]
    names = [f"{package}" for package in PACKAGES]
    subprocess.run([*pip, "--python-version", python, *constraints, "-d", str(folder), *names], check=True)
    own = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(root)]
    subprocess.run(own, check=True)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {len(list(folder.glob('*.whl')))} wheels, {size / 2**20:.1f} MiB")
    if size > LIMIT:
        raise SystemExit(f"{folder}: {size / 2**20:.1f} MiB, want less than 64; leave out what a part can do without")


def split(file: Path, size: int = PART) -> list[Path]:
    """Write the parts of a file beside it, and their checksums in ``FILE.parts.json``."""
    parts, whole = [], hashlib.sha256()
    with file.open("rb") as source:
        while data := source.read(size):
            whole.update(data)
            parts.append(file.with_name(f"{file.name}.part-{len(parts):03d}"))
            parts[-1].write_bytes(data)
    sums = {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in parts}
    _sums(file).write_text(json.dumps({"whole": whole.hexdigest(), "parts": sums}, indent=1) + "\n")
    return parts


def join(file: Path) -> None:
    """Write the file that `split` took apart.

    Raises:
        SystemExit: a part is missing or damaged.
    """
    if not _sums(file).is_file():
        raise SystemExit(f"{_sums(file)}: not there, want the checksums that `split` wrote, beside the parts")
    sums = json.loads(_sums(file).read_text())
    whole = hashlib.sha256()
    unfinished = file.with_name(f"{file.name}.unfinished")
    with unfinished.open("wb") as target:
        for name, wanted in sums["parts"].items():
            part = file.with_name(name)
            if not part.is_file():
                raise SystemExit(f"{part}: not there; bring it and join again")
            data = part.read_bytes()
            if hashlib.sha256(data).hexdigest() != wanted:
                raise SystemExit(f"{part}: damaged, its checksum is another than that of the original; bring it again")
            whole.update(data)
            target.write(data)
    if whole.hexdigest() != sums["whole"]:
        raise SystemExit(f"{file}: the joined parts have another checksum than the original; split it again")
    unfinished.replace(file)


def _sums(file: Path) -> Path:
    return file.with_name(f"{file.name}.parts.json")


def main() -> None:
    """Collect wheels, split, or join."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("wheels", "split", "join"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--python", default="3.12", help="version of the machine's Python, for wheels")
    settings = parser.parse_args()
    if settings.what == "wheels":
        wheels(settings.path, settings.python)
    elif settings.what == "split":
        for part in split(settings.path):
            print(part)
    else:
        join(settings.path)


if __name__ == "__main__":
    main()
