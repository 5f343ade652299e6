"""Pictures of a data set found by the paths that recorded answers name: never by a base name that several have."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vg_gym.data.images import FileImage
from vg_gym.data.refcoco import without_suffix
from vg_gym.types import ImageRef

Parts = tuple[str, ...]
"""Folders and base name of a path."""


class ImageNames:
    """The pictures of a data set by path.

    Args:
        images: of the data set, by their keys.
    """

    def __init__(self, images: Mapping[str, ImageRef]):
        self._names: dict[str, dict[str, list[Parts]]] = {}
        self.by_base_name: set[str] = set()
        """Paths whose folders the data set does not have, found because their base name is unique."""
        self.ambiguous: set[str] = set()
        """Paths that fit several pictures equally well, and so none."""
        for key, image in images.items():
            names = [_parts(key.partition("/")[2] or key)]
            if isinstance(image, FileImage):
                names.append(_parts(os.path.abspath(image.path)))
            self._names.setdefault(names[0][-1], {})[key] = names

    def find(self, path: str) -> str | None:
        """Return the key of the picture at a path; None where there is none, or where it fits several."""
        wanted = _parts(path)
        pictures = self._names.get(wanted[-1]) or self._names.get(without_suffix(wanted[-1]), {})
        for key, names in pictures.items():
            if wanted == names[0] or wanted == names[-1]:
                return key
        shared = {key: max(_common(wanted, name) for name in names) for key, names in pictures.items()}
        best = [key for key, count in shared.items() if count == max(shared.values())]
        if len(best) != 1:
            self.ambiguous |= {path} if best else set()
            return None
        whole = any(1 < shared[best[0]] in (len(wanted), len(name)) for name in pictures[best[0]])
        self.by_base_name |= set() if whole else {path}
        return best[0]


def _parts(path: str) -> Parts:
    r"""Return the parts of a path, with either kind of slash.

    >>> _parts("./a\\1.png")
    ('a', '1.png')
    """
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", ".")) or ("",)


def _common(a: Parts, b: Parts) -> int:
    """Return how many parts two paths share, counted from the base name; a base name alone counts as equal."""
    count = 1
    for x, y in zip(reversed(a[:-1]), reversed(b[:-1]), strict=False):
        if x != y:
            break
        count += 1
    return count
