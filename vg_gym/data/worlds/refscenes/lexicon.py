"""Words of RefScenes beyond the names of kinds: how people say a colour, a pattern, a pose, a place or a relation.

A tuple lists the ways to say the same, and the first are the most common. In templates ``{}`` stands for the other
thing, ``{his}`` for the pronoun of the target, and ``{color}`` for the British or American spelling.
"""

from __future__ import annotations

SPELLINGS = {
    "gray": ("gray", "grey"),
    "color": ("color", "colour"),
    "trousers": ("pants", "trousers"),
    "shoes": ("sneakers", "trainers"),
    "jacket": ("jacket", "coat"),
    "frosting": ("frosting", "icing"),
    "farthest": ("farthest", "furthest"),
    "checked": ("checkered", "chequered"),
    "center": ("center", "centre"),
    "sweater": ("sweater", "jumper"),
}
"""Word -> what Americans and what the British say."""
COLOR_WORDS: dict[str, tuple[str, ...]] = {
    "purple": ("purple", "purple", "violet"),
    "teal": ("teal", "turquoise", "aqua"),
    "tan": ("tan", "beige", "light brown"),
    "brown": ("brown", "brown", "brown", "dark brown"),
    "pink": ("pink", "pink", "pink", "pink", "light pink"),
    "blue": ("blue", "blue", "blue", "blue", "dark blue"),
    "red": ("red", "red", "red", "red", "bright red"),
    "yellow": ("yellow", "yellow", "yellow", "yellow", "bright yellow"),
}
"""Colour -> its words, where there is more than one."""
HAIR_WORDS = {"yellow": ("blond", "blonde"), "black": ("black", "dark"), "orange": ("red", "ginger")}
"""Colour of hair -> its words, where they differ from those of things."""
PATTERN_WORDS: dict[str, tuple[str, ...]] = {
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "polka dot", "spotted"),
    "checked": ("checked", "plaid"),
    "plain": ("plain",),
}
"""Pattern -> its adjectives."""
PATTERN_NOUNS: dict[str, tuple[str, ...]] = {
    "striped": ("stripes", "stripes on it"),
    "dotted": ("dots", "polka dots", "spots"),
    "checked": ("a checked pattern", "checks"),
    "plain": ("no pattern",),
}
"""Pattern -> what a thing has ("with ...")."""
PLURAL_PARTS = frozenset({"trousers", "shorts", "shoes", "hair", "legs", "frosting"})
"""Parts that take no article."""
GARMENTS = frozenset({"shirt", "jacket", "dress", "trousers", "shorts", "skirt", "hat", "shoes", "scarf"})
"""Parts that one wears."""
SHIRTS = ("shirt", "shirt", "t-shirt", "top", "sweater", "tee", "sweatshirt")
"""Words for a shirt."""

ACCESSORIES = ("hat", "cap", "shoes", "sneakers", "scarf")
"""Words of what one wears besides clothes: nobody is dressed in a hat."""
WEARING = ("in", "wearing", "in", "with", "sporting", "dressed in", "clad in", "who is wearing")
"""Words before what a person wears."""

SORT_NOUNS: dict[str, tuple[str, ...]] = {
    "kid": ("kid", "child", "youngster"),
    "adult": ("adult",),
    "person": ("person",),
    "animal": ("animal",),
    "vehicle": ("vehicle",),
    "thing": ("thing", "object", "one"),
}
"""Sort that is neither a kind nor a variant -> its nouns."""
POSES: dict[str, tuple[str, ...]] = {
    "standing": ("standing", "standing up", "that is standing", "standing upright", "just standing there",
                 "on {his} feet"),
    "walking": ("walking", "that is walking", "taking a step", "strolling along", "on the move"),
    "sitting": ("sitting", "seated", "sitting down", "that is sitting"),
    "lying": ("lying down", "laying down", "resting", "that is lying down", "lying on the ground"),
    "waving": (
        "waving", "with {his} arm raised", "raising {his} arm", "with one arm up", "that is waving", "gesturing",
        "holding {his} hand up",
    ),
    "eating": ("grazing", "eating", "with {his} head down", "lowering {his} head", "that is eating",
               "eating from the ground"),
}  # fmt: skip
"""Pose -> what follows the noun."""
FACINGS_OF_VEHICLES: dict[str, tuple[str, ...]] = {
    "left": ("facing left", "pointing to the left", "heading left"),
    "right": ("facing right", "pointing to the right", "heading right"),
    "towards": ("facing us", "facing the camera", "coming towards us"),
    "away": ("facing away", "facing away from us", "seen from behind"),
}
"""Direction -> what follows the noun of a vehicle."""
POSE_ADJECTIVES = {
    "standing": "standing",
    "walking": "walking",
    "sitting": "sitting",
    "waving": "waving",
    "eating": "grazing",
}
"""Pose -> the adjective before the noun."""
FACINGS: dict[str, tuple[str, ...]] = {
    "left": ("facing left", "looking to the left", "facing to the left", "turned to the left", "that is facing left"),
    "right": ("facing right", "looking to the right", "facing to the right",
              "turned to the right", "that is facing right"),
    "towards": ("facing the camera", "facing us", "looking at the camera", "facing forward", "that is facing us"),
    "away": ("facing away", "facing away from the camera", "looking away from us",
             "seen from behind", "with {his} back to us"),
}  # fmt: skip
"""Direction -> what follows the noun."""
PLACES: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "on the left side", "to the left", "on left", "at left", "on the left hand side",
             "on the left side of the picture"),
    "right": ("on the right", "on the right side", "to the right", "on right", "at right", "on the right hand side",
              "on the right side of the image"),
    "middle": ("in the middle", "in the {center}", "in middle", "in the middle of the picture"),
    "front left": ("in the bottom left corner", "in the lower left", "at the front left", "on the bottom left"),
    "front right": ("in the bottom right corner", "in the lower right", "at the front right", "on the bottom right"),
    "back left": ("in the top left corner", "in the upper left", "at the back left", "on the top left"),
    "back right": ("in the top right corner", "in the upper right", "at the back right", "on the top right"),
}  # fmt: skip
"""Place -> what follows the noun."""
PLACE_ADJECTIVES = {"left": ("left", "left hand"), "right": ("right", "right hand"), "middle": ("middle", "{center}")}
"""Place -> what stands before the noun."""
RELATIONS: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of {}", "left of {}", "on the left side of {}", "on the left of {}"),
    "right of": ("to the right of {}", "right of {}", "on the right side of {}", "on the right of {}"),
    "in front of": ("in front of {}", "right in front of {}", "directly in front of {}"),
    "behind": ("behind {}", "right behind {}", "directly behind {}", "in back of {}"),
    "next to": (
        "next to {}",
        "beside {}",
        "right next to {}",
        "near {}",
        "by {}",
        "close to {}",
        "alongside {}",
        "adjacent to {}",
    ),
    "on": ("on {}", "on top of {}", "resting on {}", "atop {}"),
    "under": ("with {} on it", "that has {} on it", "with {} on top of it"),
    "holding": (
        "holding {}",
        "with {} in {his} hand",
        "carrying {}",
        "who is holding {}",
        "that holds {}",
        "gripping {}",
    ),
    "held by": ("held by {}", "in the hand of {}", "that {} is holding", "being held by {}", "carried by {}"),
}
"""Relation -> what follows the noun."""
SUPPORTING: dict[str, tuple[str, ...]] = {
    "sitting": ("that {} is sitting on", "with {} sitting on it", "{} is sitting on"),
    "lying": ("that {} is lying on", "with {} lying on it"),
    "standing": ("that {} is standing on", "with {} standing on it"),
}
"""Pose of an object on a thing -> phrases that follow the noun of the thing."""
BETWEEN = ("between {} and {}", "in between {} and {}", "that is between {} and {}")
"""Phrases that follow the noun of a thing between two others."""
CLOSEST = ("closest to {}", "nearest to {}", "nearest {}", "that is closest to {}")
"""Phrases that follow the noun of the thing closest to another."""
SAME_COLOR = (
    "of the same {color} as {}", "with the same {color} as {}", "in the same {color} as {}",
    "that has the same {color} as {}", "that is the same {color} as {}",
)  # fmt: skip
"""Phrases that follow the noun of a thing that has the colour of another."""
LOCATED = {
    "person": ("standing", "standing", "who is", "seen"),
    "animal": ("standing", "that is", "seen"),
    "vehicle": ("parked", "that is", "which is"),
    "own": ("that is", "seen", "which is", "shown"),
}
"""Supercategory -> verbs before a place or relation; a pose must not be stated that is not there."""
LOCATED_THING = ("that is", "located", "placed", "which is", "sitting", "situated", "positioned", "seen", "shown")
"""Verbs before a place or relation of other things."""

FIRST: dict[str, tuple[str, ...]] = {
    "left": ("leftmost", "left most", "far left", "extreme left"),
    "right": ("rightmost", "right most", "far right", "extreme right"),
    "near": ("closest", "nearest", "front"),
    "far": ("{farthest}", "back", "most distant", "rear"),
    "large": ("largest", "biggest"),
    "small": ("smallest", "littlest", "tiniest"),
    "tall": ("tallest",),
    "short": ("shortest",),
}
"""Order -> the superlative before the noun."""
FIRST_AFTER: dict[str, tuple[str, ...]] = {
    "left": ("on the far left", "{farthest} to the left", "{farthest} left", "that is {farthest} to the left",
             "all the way on the left"),
    "right": ("on the far right", "{farthest} to the right", "{farthest} right", "that is {farthest} to the right",
              "all the way on the right"),
    "near": ("closest to the camera", "closest to us", "in front", "in the foreground", "nearest to the viewer",
             "that is closest to the camera", "at the front", "nearest the camera", "up front"),
    "far": ("{farthest} away", "in the back", "in the background", "{farthest} from the camera", "at the back",
            "that is {farthest} away", "all the way in the back", "{farthest} from us", "in the distance",
            "in the rear"),
    "large": ("that is the largest", "that is bigger than the others", "bigger than the rest",
              "that is the biggest one"),
    "small": ("that is the smallest", "that is smaller than the others", "smaller than the rest",
              "that is the smallest one"),
    "tall": ("that is the tallest", "that is taller than the others", "taller than all the others"),
    "short": ("that is the shortest", "that is shorter than the others", "shorter than everyone else"),
}  # fmt: skip
"""Order -> the superlative after the noun."""
COMPARATIVES = {"large": ("larger", "bigger"), "small": ("smaller",), "tall": ("taller",), "short": ("shorter",)}
"""Order by size -> the comparative, where there are two."""
NUMBERS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh")
"""Ordinal numbers."""
FIGURES = ("", "1st", "2nd", "3rd", "4th", "5th", "6th", "7th")
"""Ordinal numbers in figures."""
ORDER_FROM: dict[str, tuple[str, ...]] = {
    "left": ("from the left", "from left", "from the left side", "counting from the left"),
    "right": ("from the right", "from right", "from the right side", "counting from the right"),
    "near": ("from the front", "from the camera"),
    "far": ("from the back",),
}
"""Order -> where one counts from, after the noun."""
IN_PICTURE = (
    "in the picture", "in the image", "in the photo", "in view", "in this scene", "of all", "you can see",
    "of them all", "shown here", "in the photograph", "visible",
)  # fmt: skip
"""Phrases that may follow a superlative."""
MIDDLE = ("in the middle", "in the {center}", "that is in the middle")
"""Phrases that follow the noun of the middle one of a row."""
COUNTS: dict[int, tuple[str, ...]] = {
    0: ("all", "all the", "all of the", "every one of the", "each of the"),
    2: ("two", "both", "the two", "a pair of", "both of the", "a couple of"),
    3: ("three", "the three", "all three", "a group of three", "a trio of"),
    4: ("four", "the four", "all four", "a group of four", "a set of four"),
}
"""Number of things -> what stands before a plural; 0 stands for all there are."""
