"""Search of the images of a data set by the paths in recorded answers. A base name counts only where it is unique."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vg_gym.data.images import FileImage
from vg_gym.data.refcoco import without_suffix
from vg_gym.types import ImageRef

Parts = tuple[str, ...]
"""Folders and base name of a path."""


class ImageNames:
    """Index of the images of a data set by path.

    Args:
        images: images of the data set by key.
    """

    def __init__(self, images: Mapping[str, ImageRef]):
        self._names: dict[str, dict[str, list[Parts]]] = {}
        self.by_base_name: set[str] = set()
        """Paths that matched only by their unique base name, since their folders are not those of the data set."""
        self.ambiguous: set[str] = set()
        """Paths that match several images equally well, so that none is chosen."""
        for key, image in images.items():
            names = [_parts(key.partition("/")[2] or key)]
            if isinstance(image, FileImage):
                names.append(_parts(os.path.abspath(image.path)))
            self._names.setdefault(names[0][-1], {})[key] = names

    def find(self, path: str) -> str | None:
        """Return the key of the image at a path; None if no image or several images match."""
        parts = _parts(path)
        pictures = self._names.get(parts[-1]) or self._names.get(without_suffix(parts[-1]), {})
        for key, names in pictures.items():
            if parts == names[0] or parts == names[-1]:
                return key
        shared = {key: max(_common(parts, name) for name in names) for key, names in pictures.items()}
        best = [key for key, count in shared.items() if count == max(shared.values())]
        if len(best) != 1:
            self.ambiguous |= {path} if best else set()
            return None
        whole = any(1 < shared[best[0]] in (len(parts), len(name)) for name in pictures[best[0]])
        self.by_base_name |= set() if whole else {path}
        return best[0]


def _parts(path: str) -> Parts:
    r"""Return the parts of a path with slashes or backslashes.

    >>> _parts("./a\\1.png")
    ('a', '1.png')
    """
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", ".")) or ("",)


def _common(a: Parts, b: Parts) -> int:
    """Return the number of parts that two paths with the same base name share, counted from the end."""
    count = 1
    for x, y in zip(reversed(a[:-1]), reversed(b[:-1]), strict=False):
        if x != y:
            break
        count += 1
    return count
