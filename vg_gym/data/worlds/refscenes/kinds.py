"""Vocabulary of RefScenes: colours, patterns, parts, poses, and the kinds of things with their names.

Nothing here draws anything. :data:`KINDS` says what a kind is called and what people may say of it; the catalogue says
what it looks like.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (196, 30, 32),
    "orange": (240, 125, 20),
    "yellow": (240, 205, 40),
    "green": (44, 138, 56),
    "teal": (22, 160, 162),
    "blue": (36, 70, 185),
    "purple": (118, 50, 150),
    "pink": (240, 130, 175),
    "brown": (104, 62, 32),
    "tan": (208, 172, 122),
    "black": (24, 24, 27),
    "gray": (128, 130, 134),
    "white": (238, 238, 234),
}
"""Colour -> RGB in daylight."""
COLORS_PER_HELD_OUT_COLOR = 5
"""Number of colours of a kind for each colour that is held out for ``test-new-pairs``."""
PATTERNS = ("plain", "striped", "dotted", "checked")
"""Patterns of a part; the second colour of a pattern is not named."""
POSES = ("standing", "walking", "sitting", "lying", "waving", "eating")
"""Poses; ``eating`` is the lowered head of a grazing animal. What a person holds is in ``Thing.holds``, not here."""
VARIANTS: dict[str, tuple[str, ...]] = {
    "man": ("man", "guy", "gentleman"),
    "woman": ("woman", "lady", "gal"),
    "boy": ("boy", "lad"),
    "girl": ("girl", "lass"),
}
"""Variant of a person -> its nouns, the main one first; the last one is held out for ``test-new-words``."""
PART_NAMES: dict[str, tuple[str, ...]] = {
    "shirt": ("shirt", "top", "t-shirt"),
    "jacket": ("jacket", "coat"),
    "dress": ("dress",),
    "trousers": ("trousers", "pants"),
    "shorts": ("shorts",),
    "skirt": ("skirt",),
    "hat": ("hat", "cap"),
    "hair": ("hair",),
    "shoes": ("shoes", "sneakers"),
    "collar": ("collar",),
    "saddle": ("saddle",),
    "roof": ("roof",),
    "door": ("door",),
    "shade": ("shade", "lampshade"),
    "cushion": ("cushion", "pillow"),
    "blanket": ("blanket", "cover"),
    "legs": ("legs",),
    "base": ("base", "stand"),
    "lid": ("lid", "cap"),
    "sail": ("sail",),
    "trailer": ("trailer", "cargo box"),
    "frosting": ("frosting", "icing"),
    "scarf": ("scarf",),
    "pot": ("pot",),
    "bow": ("bow",),
    "handle": ("handle",),
    "head": ("head",),
    "label": ("label",),
}
"""Part that people name -> its nouns; the first is the main one. People do not name other parts (skin, wheels, ...)."""
_PLURALS = {
    "man": "men", "gentleman": "gentlemen", "woman": "women", "lady": "ladies", "lass": "lasses", "person": "people",
    "child": "children", "sheep": "sheep", "puppy": "puppies", "kitty": "kitties", "pony": "ponies", "ox": "oxen",
    "bus": "buses", "coach": "coaches", "omnibus": "omnibuses", "couch": "couches", "bench": "benches",
    "park bench": "park benches", "lorry": "lorries", "box": "boxes", "dish": "dishes", "pastry": "pastries",
    "snowman": "snowmen", "swine": "swine",
}  # fmt: skip
"""Plurals that do not end in a plain s."""


def plural(noun: str) -> str:
    """Return the plural of a noun of this vocabulary.

    >>> plural("woman"), plural("traffic cone"), plural("couch")
    ('women', 'traffic cones', 'couches')
    """
    return _PLURALS.get(noun, f"{noun}s")


@dataclass(frozen=True)
class Kind:
    """Nouns and possible properties of a kind of thing."""

    names: tuple[str, ...]
    """Nouns, the main one first; the last one is held out for ``test-new-words``."""
    supercategory: str
    """``person``, ``animal``, ``vehicle``, ``furniture``, ``food``, ``household``, ``toy`` or ``outdoor``."""
    height_m: float
    """Usual height in metres when standing."""
    main: str
    """Part whose colour and pattern are those of the thing ("the red car"); a person may wear another in its place."""
    parts: tuple[str, ...] = ()
    """Other parts that people name, keys of :data:`PART_NAMES`; a thing may lack some of them."""
    colors: tuple[str, ...] = tuple(COLORS)
    """Colours of the main part."""
    patterns: tuple[str, ...] = ("plain",)
    """Patterns of the main part."""
    poses: tuple[str, ...] = ("",)
    """Poses; ``("",)`` if the kind has none."""
    supports: bool = False
    """True if things can stand, sit or lie on it."""
    held: bool = False
    """True if a person can hold it."""
    variants: tuple[str, ...] = ("",)
    """Variants, keys of :data:`VARIANTS`; ``("",)`` if the kind has none."""

    @property
    def held_out(self) -> str:
        """The noun that only ``test-new-words`` uses."""
        return self.names[-1]

    @property
    def usual(self) -> tuple[str, ...]:
        """The nouns of all other splits."""
        return self.names[:-1]


_ANY = tuple(COLORS)
_COATS = ("brown", "black", "white", "gray", "tan", "orange")
_MOVES = ("standing", "walking", "lying", "eating")
_SITS = ("standing", "walking", "sitting", "lying")

KINDS: dict[str, Kind] = {
    "person": Kind(
        ("person", "human", "individual"), "person", 1.72, "shirt",
        ("jacket", "dress", "trousers", "shorts", "skirt", "hat", "hair", "shoes"),
        patterns=PATTERNS, poses=("standing", "walking", "sitting", "lying", "waving"), variants=tuple(VARIANTS),
    ),
    "dog": Kind(("dog", "puppy", "hound"), "animal", 0.62, "body", ("collar",), _COATS, ("plain", "dotted"), _SITS),
    "cat": Kind(("cat", "kitty", "feline"), "animal", 0.36, "body", ("collar",), _COATS, ("plain", "striped"), _SITS),
    "horse": Kind(
        ("horse", "pony", "stallion"), "animal", 1.65, "body", ("saddle",), _COATS[:5], poses=_MOVES, supports=True
    ),
    "cow": Kind(("cow", "ox"), "animal", 1.4, "body", (), _COATS[:5], ("plain", "dotted"), _MOVES),
    "sheep": Kind(("sheep", "lamb", "ewe"), "animal", 0.85, "body", ("head",), _COATS[:5], poses=_MOVES),
    "pig": Kind(("pig", "hog", "swine"), "animal", 0.75, "body", (), ("pink", "black", "brown", "white", "gray"),
                ("plain", "dotted"), _MOVES),
    "elephant": Kind(("elephant", "pachyderm"), "animal", 2.7, "body", ("blanket",),
                     ("gray", "brown", "tan", "white"), poses=("standing", "walking")),
    "giraffe": Kind(("giraffe", "long-necked animal"), "animal", 4.2, "body", (),
                    ("tan", "orange", "yellow", "white"), ("dotted", "checked"), ("standing", "walking")),
    "duck": Kind(("duck", "bird", "waterfowl"), "animal", 0.42, "body", ("head",),
                 ("white", "yellow", "brown", "gray", "black", "green", "blue"), poses=("standing", "sitting")),
    "teddy bear": Kind(("teddy bear", "teddy", "stuffed bear"), "toy", 0.45, "body", ("bow", "shirt"), _ANY,
                       poses=("sitting",), held=True),
    "car": Kind(("car", "sedan", "automobile"), "vehicle", 1.45, "body", ("roof",), _ANY, ("plain", "striped")),
    "bus": Kind(("bus", "coach", "omnibus"), "vehicle", 3.0, "body", ("roof",), _ANY, ("plain", "striped")),
    "truck": Kind(("truck", "lorry", "semi"), "vehicle", 3.1, "cab", ("trailer",), _ANY),
    "bicycle": Kind(("bicycle", "bike", "pushbike"), "vehicle", 1.05, "frame", ("saddle",), _ANY, supports=True),
    "boat": Kind(("boat", "ship", "vessel"), "vehicle", 4.2, "hull", ("sail",), _ANY, ("plain", "striped")),
    "chair": Kind(("chair", "dining chair"), "furniture", 0.95, "seat", ("cushion", "legs"), _ANY,
                  ("plain", "striped", "checked"), supports=True),
    "table": Kind(("table", "desk", "tabletop"), "furniture", 0.76, "top", ("legs",), _ANY,
                  ("plain", "checked"), supports=True),
    "sofa": Kind(("sofa", "couch", "settee"), "furniture", 0.85, "body", ("cushion",), _ANY, PATTERNS, supports=True),
    "bed": Kind(("bed", "mattress", "bunk"), "furniture", 0.75, "blanket", ("cushion",), _ANY, PATTERNS, supports=True),
    "bench": Kind(("bench", "park bench", "long seat"), "furniture", 0.85, "seat", ("legs",), _ANY, supports=True),
    "lamp": Kind(("lamp", "light", "table lamp"), "furniture", 0.55, "shade", ("base",), _ANY, PATTERNS),
    "television": Kind(("tv", "television", "screen"), "household", 0.6, "case", (),
                       ("black", "white", "gray", "red")),
    "laptop": Kind(("laptop", "computer", "notebook computer"), "household", 0.24, "case", (),
                   ("black", "white", "gray", "red", "blue", "pink")),
    "clock": Kind(("clock", "alarm clock", "timepiece"), "household", 0.22, "case", (), _ANY),
    "bottle": Kind(("bottle", "flask", "water bottle"), "household", 0.27, "body", ("lid", "label"), _ANY, held=True),
    "mug": Kind(("mug", "cup", "coffee cup"), "household", 0.11, "body", ("handle",), _ANY, PATTERNS, held=True),
    "bowl": Kind(("bowl", "dish", "basin"), "household", 0.1, "body", (), _ANY, ("plain", "striped", "dotted")),
    "vase": Kind(("vase", "urn"), "household", 0.32, "body", (), _ANY, PATTERNS),
    "book": Kind(("book", "novel", "volume"), "household", 0.05, "cover", (), _ANY, ("plain", "striped"), held=True),
    "ball": Kind(("ball", "beach ball", "sphere"), "toy", 0.3, "body", (), _ANY, PATTERNS, held=True),
    "umbrella": Kind(("umbrella", "parasol", "brolly"), "household", 1.0, "canopy", ("handle",), _ANY, PATTERNS,
                     held=True),
    "suitcase": Kind(("suitcase", "travel bag", "travel case"), "household", 0.65, "body", ("handle",), _ANY,
                     ("plain", "striped"), held=True),
    "box": Kind(("box", "package", "carton"), "household", 0.4, "body", ("lid",), _ANY, PATTERNS, supports=True),
    "apple": Kind(("apple", "pippin"), "food", 0.085, "body", (), ("red", "green", "yellow"), held=True),
    "banana": Kind(("banana", "plantain"), "food", 0.06, "body", (), ("yellow", "green", "brown")),
    "donut": Kind(("donut", "doughnut", "pastry"), "food", 0.05, "frosting", (),
                  ("pink", "white", "brown", "yellow", "teal", "purple"), ("plain", "dotted")),
    "cake": Kind(("cake", "birthday cake", "gateau"), "food", 0.14, "frosting", (), _ANY,
                 ("plain", "striped", "dotted")),
    "tree": Kind(("tree", "fir tree", "pine"), "outdoor", 3.4, "leaves", (),
                 ("green", "orange", "red", "yellow", "teal")),
    "house": Kind(("house", "hut", "cottage"), "outdoor", 4.2, "walls", ("roof", "door"), _ANY),
    "hydrant": Kind(("fire hydrant", "hydrant", "fireplug"), "outdoor", 0.75, "body", ("lid",), _ANY),
    "cone": Kind(("cone", "traffic cone", "pylon"), "outdoor", 0.7, "body", (), _ANY, ("plain", "striped")),
    "plant": Kind(("plant", "potted plant", "houseplant"), "household", 0.6, "leaves", ("pot",),
                  ("green", "teal", "yellow", "red", "purple")),
    "snowman": Kind(("snowman", "snow figure"), "outdoor", 1.5, "snow", ("hat", "scarf"), ("white",)),
}  # fmt: skip
"""Kind -> its words. The key is the name of the category."""


OWN = "own "
"""Beginning of the name of a kind that a user brings; its noun follows."""


@cache
def kind_named(name: str) -> Kind:
    """Return what is known of a kind: of one that a user brings, its noun alone.

    >>> kind_named("dog").supercategory, kind_named("own fire truck").usual
    ('animal', ('fire truck',))
    """
    if name.startswith(OWN):
        return Kind((name.removeprefix(OWN), ""), OWN.strip(), 1.0, "body")
    return KINDS[name]


def nouns(kind: str, variant: str = "") -> tuple[str, ...]:
    """Return the nouns of a kind or, if there is one, of its variant, without the held-out one.

    >>> nouns("dog"), nouns("person", "man")
    (('dog', 'puppy'), ('man', 'guy'))
    """
    return VARIANTS[variant][:-1] if variant else kind_named(kind).usual


@cache
def is_held_out(kind: str, color: str) -> bool:
    """Return whether things of this kind and colour exist only in ``test-new-pairs``.

    >>> [color for color in COLORS if is_held_out("car", color)]
    ['pink', 'white']
    """
    colors = KINDS[kind].colors
    count = len(colors) // COLORS_PER_HELD_OUT_COLOR
    first = zlib.crc32(kind.encode())
    return color in (colors[(first + COLORS_PER_HELD_OUT_COLOR * i) % len(colors)] for i in range(count))
