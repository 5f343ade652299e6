"""Visual prompts for CLIP: a view is a copy of an image, or of a part of it, that marks one box.

The views are ``crop`` and ReCLIP's ``blur`` (Subramanian et al., ACL 2022), ``red-circle`` (Shtedritski et al., ICCV
2023), and ``fgvp``, the fine-grained visual prompt that blurs everything outside a mask (Yang et al., NeurIPS 2023).
No view changes its input image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from vg_gym import boxes as box_ops
from vg_gym.clip import crops
from vg_gym.errors import VGGymError

View = Callable[[np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]
"""(image uint8 (H, W, 3), pixel box (4,), mask bool (H, W) or None) -> view uint8 (h, w, 3)."""


def crop(image: np.ndarray, box: np.ndarray, mask: np.ndarray | None = None, margin: float = 0.0) -> np.ndarray:
    """Return the pixels (h, w, 3) under a box, clamped to the image; at least one pixel.

    Fractional edges are rounded, halves to the even pixel, as in ReCLIP.

    Args:
        image: uint8 (H, W, 3).
        box: ``xyxy`` pixels (4,).
        mask: unused.
        margin: outward shift of each edge, as a fraction of the box's width or height.
    """
    height, width = image.shape[:2]
    box = np.asarray(box, dtype=np.float64)
    grow = margin * np.tile(box[2:] - box[:2], 2) * (-1, -1, 1, 1)
    x1, y1, x2, y2 = np.round(np.clip(box + grow, 0, [width, height, width, height])).astype(int)
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    return image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)].copy()


def blur(image: np.ndarray, box: np.ndarray, mask: np.ndarray | None = None, radius: float = 100.0) -> np.ndarray:
    """Return the whole image (H, W, 3), blurred outside the box.

    As in ReCLIP, fractional edges are rounded down. The pixels of the right and bottom edges stay sharp too: one column
    and one row more than in :func:`crop`.

    Args:
        image: uint8 (H, W, 3).
        box: ``xyxy`` pixels (4,).
        mask: unused.
        radius: standard deviation of the Gaussian, in pixels.
    """
    x1, y1, x2, y2 = (max(int(edge), 0) for edge in box)
    keep = np.zeros(image.shape[:2], dtype=bool)
    keep[y1 : y2 + 1, x1 : x2 + 1] = True
    return _blurred_outside(image, keep, radius)


def fgvp(image: np.ndarray, box: np.ndarray, mask: np.ndarray | None = None, radius: float = 100.0) -> np.ndarray:
    """Return the whole image (H, W, 3), blurred outside the mask.

    Args:
        image: uint8 (H, W, 3).
        box: unused.
        mask: bool (H, W) of the object.
        radius: standard deviation of the Gaussian, in pixels.

    Raises:
        VGGymError: the mask is missing, or its size is not the image's.
    """
    if mask is None:
        raise VGGymError("view 'fgvp' blurs outside masks, and these proposals have none; use sam-clip, or view 'blur'")
    if mask.shape != image.shape[:2]:
        raise VGGymError(f"view 'fgvp' got a mask of {mask.shape} for an image of {image.shape[:2]} (height, width)")
    return _blurred_outside(image, mask.astype(bool), radius)


def red_circle(
    image: np.ndarray,
    box: np.ndarray,
    mask: np.ndarray | None = None,
    thickness: float = 0.01,
    stretch: float = 1.0,
) -> np.ndarray:
    """Return the whole image (H, W, 3) with a red ellipse around the box.

    Args:
        image: uint8 (H, W, 3).
        box: ``xyxy`` pixels (4,).
        mask: unused.
        thickness: thickness of the line, as a fraction of the image's shorter side; at least one pixel. The line lies
            inside the ellipse.
        stretch: ratio of the ellipse's axes to the box's sides. At 1 the ellipse touches the sides, at sqrt(2) it
            passes through the corners.
    """
    return _with_red("ellipse", image, box_ops.scale(np.asarray(box, dtype=np.float64), stretch), thickness)


def red_rectangle(image: np.ndarray, box: np.ndarray, thickness: float = 0.01) -> np.ndarray:
    """Return the whole image (H, W, 3) with a red rectangle along the inner side of the box's edges.

    Args:
        image: uint8 (H, W, 3).
        box: ``xyxy`` pixels (4,).
        thickness: thickness of the line, as a fraction of the image's shorter side; at least one pixel.
    """
    return _with_red("rectangle", image, box, thickness)


def _with_red(shape: str, image: np.ndarray, box: np.ndarray, thickness: float) -> np.ndarray:
    """Return an image with a red shape of ``ImageDraw`` inside a box."""
    canvas = Image.fromarray(image)
    line = max(1, round(thickness * min(canvas.size)))
    x1, y1, x2, y2 = (float(v) for v in box)
    # Pillow's shapes include their last column and row.
    corners = (x1, y1, max(x2 - 1, x1), max(y2 - 1, y1))
    getattr(ImageDraw.Draw(canvas), shape)(corners, outline=(255, 0, 0), width=line)
    return np.array(canvas)


def _blurred_outside(image: np.ndarray, keep: np.ndarray, radius: float) -> np.ndarray:
    return np.where(keep[..., None], image, crops.blur(image, radius))


VIEWS: dict[str, View] = {"crop": crop, "blur": blur, "red-circle": red_circle, "fgvp": fgvp}
"""Name -> view."""
