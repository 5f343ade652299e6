"""Size of an installation on the disk: vg_gym's packages without extras, and the part that is only for GPUs.

python benchmarks/installed_size.py
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

GPU = ("nvidia-", "triton", "cuda-")
"""Beginnings of the names of packages that PyTorch's CPU build does not need."""
GIGABYTE = 1e9


def main() -> None:
    """Print the number of packages, and the sizes in GB."""
    sizes: dict[str, int] = {}
    add("vg_gym", (), sizes)
    gpu = sum(size for name, size in sizes.items() if name.startswith(GPU))
    print(f"{len(sizes)} packages, {sum(sizes.values()) / GIGABYTE:.1f} GB, of which for GPUs {gpu / GIGABYTE:.1f} GB")


def add(name: str, extras: tuple[str, ...], sizes: dict[str, int]) -> None:
    """Add the size of a package and of what it requires, in bytes, to ``sizes``."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return
    sizes[name] = sum(file.size or 0 for file in package.files or ())
    for text in package.requires or ():
        needed = Requirement(text)
        applies = needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if applies and (needed.name not in sizes or needed.extras):
            add(needed.name, tuple(needed.extras), sizes)


if __name__ == "__main__":
    main()
