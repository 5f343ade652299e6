"""Words of mirrored pictures."""

import pytest

from vg_gym.data.mirroring import mirror_words


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("the star left of the ring", "the star right of the ring"),
        ("Left bird", "right bird"),
        ("the leftmost cross in the top right corner", "the rightmost cross in the top left corner"),
        ("a bright leftover", "a bright leftover"),
        ("the dog right next to the cow", "the dog right next to the cow"),
        ("a car right in front of a man on the right", "a car right in front of a man on the left"),
        ("the girl facing right behind the cart", "the girl facing left behind the cart"),
        ("the mug on the right next to the book", "the mug on the left next to the book"),
    ],
)
def test_sides_are_swapped(text, mirrored):
    assert mirror_words(text) == mirrored
