"""Meanings against small scenes in which the answer is known."""

import dataclasses

import numpy as np
import pytest

from vg_gym.data.worlds.refscenes.graph import Graph
from vg_gym.data.worlds.refscenes.meaning import (
    Between,
    Color,
    Has,
    Not,
    Phrase,
    Pick,
    Place,
    Pose,
    Related,
    SameColor,
    Sort,
    drop,
    exact,
    minimal,
    referents,
)
from vg_gym.data.worlds.refscenes.scene import Part, Thing

MUG, DOG = Sort("mug"), Sort("dog")


def thing(kind, color, x, **known):
    parts = (Part("body", color), *known.pop("parts", ()))
    return Thing(kind, parts, 1.0, known.pop("height_m", 0.5), (x, 0.0, 0.0), **known)


def graph(*things, x=None, depth=None, visible=None, side=0.2):
    """Things in a row from left to right, in a picture of 4:3, of which everything shows."""
    n = len(things)
    x = np.linspace(0.15, 1.2, n) if x is None else np.array(x)
    boxes = np.stack([x - side / 2, np.full(n, 0.5), x + side / 2, np.full(n, 0.5 + side)], 1)
    return Graph(
        things,
        boxes,
        np.ones(n) if visible is None else np.array(visible),
        np.full(n, 4.0) if depth is None else np.array(depth),
        heading=np.tile([1.0, 0.0], (n, 1)),
        parts=tuple({part.name: 0.01 for part in each.parts} for each in things),
        width=4 / 3,
        height=1.0,
    )


def test_a_color_tells_things_apart():
    scene = graph(thing("mug", "red", 0), thing("mug", "green", 1), thing("dog", "brown", 2))
    red = Phrase(MUG, (Color("main", "red"),))
    assert referents(red, scene) == (0,) and exact(red, scene, 1) and minimal(red, scene)
    assert referents(Phrase(MUG), scene) == (0, 1) and not exact(Phrase(MUG), scene, 1)
    assert referents(Phrase(MUG, (Not(Color("main", "red")),)), scene) == (1,)


def test_a_needless_word_is_not_minimal():
    scene = graph(thing("mug", "red", 0), thing("dog", "brown", 2))
    red = Phrase(MUG, (Color("main", "red"),))
    assert exact(red, scene, 1) and not minimal(red, scene)
    assert list(drop(red)) == [Phrase(MUG)]


@pytest.mark.parametrize(("color", "other"), [("gray", "white"), ("brown", "tan"), ("blue", "purple")])
def test_colors_that_light_confuses_are_ambiguous(color, other):
    scene = graph(thing("mug", color, 0), thing("mug", other, 1))
    assert not exact(Phrase(MUG, (Color("main", color),)), scene, 1)


def test_nearly_in_the_middle_is_not_clearly_left():
    clear = graph(thing("mug", "red", 0), thing("mug", "red", 1), x=[0.2, 1.1])
    assert exact(Phrase(MUG, (Place("left"),)), clear, 1)
    vague = graph(thing("mug", "red", 0), thing("mug", "red", 1), x=[0.2, 0.6])
    assert not exact(Phrase(MUG, (Place("left"),)), vague, 1)


def test_order_needs_a_lead():
    things = [thing("mug", "red", x) for x in range(3)]
    clear = graph(*things, depth=[3, 4, 5])
    assert referents(Phrase(MUG, pick=Pick("near")), clear) == (0,)
    assert referents(Phrase(MUG, pick=Pick("far", 2)), clear) == (1,)
    assert referents(Phrase(MUG, pick=Pick("left", 0)), clear) == (1,)
    tie = graph(*things, depth=[3, 3.1, 5])
    assert referents(Phrase(MUG, pick=Pick("near")), tie) == ()
    assert Phrase(MUG, pick=Pick("near")).fit(tie).possible == 0b11


def test_a_number_beyond_the_row_means_nothing():
    scene = graph(thing("mug", "red", 0), thing("mug", "red", 1))
    assert Phrase(MUG, pick=Pick("left", 3)).fit(scene) == (0, 0)


def test_a_relation_needs_one_anchor():
    scene = graph(thing("mug", "red", 0), thing("dog", "brown", 1), thing("mug", "red", 2), thing("dog", "white", 3))
    of_brown = Phrase(MUG, (Related("left of", Phrase(DOG, (Color("main", "brown"),))),))
    assert exact(of_brown, scene, 1)
    of_some = Phrase(MUG, (Related("left of", Phrase(DOG)),))
    assert of_some.fit(scene).clear == 0 and of_some.fit(scene).possible
    of_none = Phrase(MUG, (Related("left of", Phrase(Sort("cat"))),))
    assert of_none.fit(scene) == (0, 0)


def test_between_two():
    scene = graph(thing("dog", "brown", 0), thing("mug", "red", 1), thing("cat", "gray", 2), thing("mug", "red", 3))
    assert exact(Phrase(MUG, (Between(Phrase(DOG), Phrase(Sort("cat"))),)), scene, 0b10)


def test_on_and_under_and_held():
    table = thing("table", "blue", 0)
    person = thing("person", "red", 2, variant="man", holds=3)
    scene = graph(table, thing("mug", "red", 0, support=0), person, thing("mug", "red", 2))
    assert exact(Phrase(MUG, (Related("on", Phrase(Sort("table"))),)), scene, 0b10)
    assert exact(
        Phrase(Sort("table"), (Related("under", Phrase(MUG, (Related("on", Phrase(Sort("table"))),))),)), scene, 1
    )
    assert exact(Phrase(MUG, (Related("held by", Phrase(Sort("man"))),)), scene, 0b1000)


def test_the_same_color_leaves_out_the_anchor():
    scene = graph(thing("mug", "red", 0), thing("dog", "brown", 1), thing("mug", "brown", 2))
    assert exact(Phrase(MUG, (SameColor(Phrase(DOG)),)), scene, 0b100)


def test_what_is_hidden_is_possible_and_never_clear():
    hat = (Part("hat", "red"),)
    man = [thing("person", "blue", x, variant="man", parts=hat if x == 0 else ()) for x in range(2)]
    with_hat = Phrase(Sort("man"), (Has("hat"),))
    assert exact(with_hat, graph(*man), 1)
    assert not exact(with_hat, graph(*man, visible=[1, 0.5]), 1)
    assert exact(with_hat, graph(*man, visible=[1, 0.01]), 1), "what nobody sees does not count"
    assert referents(with_hat, graph(*man, visible=[0.3, 1])) == ()


def test_standing_may_be_said_of_walking():
    dogs = [thing("dog", "brown", x, pose=pose) for x, pose in enumerate(("standing", "walking", "lying"))]
    assert Phrase(DOG, (Pose("standing"),)).fit(graph(*dogs)) == (0b1, 0b11)
    assert exact(Phrase(DOG, (Pose("lying"),)), graph(*dogs), 0b100)


def test_two_of_three():
    scene = graph(thing("mug", "red", 0), thing("mug", "red", 1), thing("mug", "blue", 2))
    both = Phrase(MUG, (Color("main", "red"),), count=2)
    assert exact(both, scene, 0b11)
    assert not exact(dataclasses.replace(both, count=3), scene, 0b11)
