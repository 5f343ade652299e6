"""Classes of words that tell a relation between two objects from words that only look like one.

Every class is an alternation of a regular expression over lower-case words.
"""

from __future__ import annotations

import re

SCENES = (
    "picture|image|photo|photograph|pic|frame|screen|shot|scene|view|row|line|group|pack|herd|flock|bunch|crowd|pair|"
    "trio|stack|pile|two|three|four|others|room|kitchen|court|field"
)
"""Nouns that a place lies *in*: "on the left of the row" is a superlative, "on the left of the bus" a relation."""
PICTURES = "picture|image|photo|photograph|pic|frame|screen|shot|scene|view"
"""Words for the picture itself, which is not an object in it."""
VIEWER = "cameras?|camera ?man|viewers?|photographers?|lens|us|me|you|observer"
"""Words for the viewer, who has a place but not a box: "closest to the camera" is a depth, not a relation."""
SCENERY = (
    "road|street|highway|lane|path|trail|walkway|driveway|sidewalk|side ?walk|pavement|asphalt|curb|crosswalk|"
    "intersection|runway|tarmac|tracks?|railroad|rails|ground|floor|carpet|dirt|sand|mud|soil|grass|lawn|yard|field|pasture|meadow|"
    "hill|hillside|slope|mountain|mountainside|mountaintop|beach|shore|shoreline|water|waves?|ocean|sea|lake|river|"
    "pond|pool|snow|ice|sky|air|court|arena|stadium|park|parking|forest|woods|jungle|desert|city|town|bathroom|kitchen|"
    "bedroom|room|hall|hallway|lobby|house|station|airport|zoo|farm|barn|patio|deck|porch|lot|bay|wall|traffic|area|"
    "concrete|rain|sun|sunlight|shade|shadows?|distance|enclosure|pavilion|plaza|terminal|platform"
)
"""Surroundings that rarely have a box of their own."""
BODY = (
    "heads?|hair|face|nose|mouth|ears?|eyes?|neck|chest|shoulders?|arms?|elbows?|wrists?|hands?|fingers?|back|backs|"
    "waist|hips?|legs?|knees?|foot|feet|paws?|hooves|hoof|tail|trunk|tusks?|horns?|mane|beak|snout|wings?|toes?|"
    "forehead|belly|stomach|body|butt|rear|fur|chin|cheeks?|lips?|teeth|throat|thumb|skin"
)
"""Parts of a body: "with a cap on the head" does not place the person on a head."""
GARMENTS = (
    "shirts?|t ?- ?shirts?|tshirt|tee|jackets?|coats?|dress|sweaters?|sweatshirts?|hoodies?|blouses?|vests?|suits?|"
    "uniforms?|jerseys?|tops?|tank tops?|pants|trousers|jeans|shorts|skirts?|hats?|caps?|helmets?|glasses|sunglasses|"
    "goggles|gloves?|shoes?|boots?|socks?|sneakers?|sandals|scarf|scarves|ties?|aprons?|robes?|gowns?|clothes|clothing|"
    "outfits?|costumes?|gear|hooded|hair|beard|mustache|moustache|ponytail|earrings?|necklaces?|watch|headband|bandana|"
    "stripes?|spots?|sleeves?|collars?|skin|face|tattoos?|wheels|attire|visors?|belts?"
)
"""Clothes and looks: after "with a hat" or "in a red shirt" the place is still that of the person."""
CONTAINERS = (
    "box|boxes|basket|bowls?|cups?|mugs?|glass|jars?|vases?|pots?|pans?|bags?|backpack|suitcases?|luggage|purse|cages?|"
    "crates?|containers?|buckets?|bins?|trays?|dish|dishes|tub|bathtub|sink|toilet|oven|microwave|fridge|refrigerator|"
    "drawers?|cabinets?|cart|stroller|carriage|wheelchair|cars?|trucks?|vans?|buses|bus|trains?|boats?|ship|canoe|"
    "kayak|raft|plane|airplane|helicopter|trailer|wagon|bed|beds|crib|chairs?|armchair|couch|sofa|recliner|seat|"
    "fence|plates?|pocket|bottle|bucket|holder|package|packet|case|mirror|window|doorway|lap|bush|bushes|tree|trees|"
    "wrapper|foil|shelf|bread|bun|carrier|nest|pen|tent|booth|hammock"
)
"""Nouns that something can lie in."""
FURNITURE = "tables?|desks?|counters?|counter ?tops?|bar|booth|stove|oven|sink|grill|stand|podium|piano|workbench|dock"
"""Nouns that somebody sits or stands *at*."""
SEATS = (
    "bench|chairs?|couch|sofa|bed|stool|seat|motorcycles?|motorbikes?|bikes?|bicycles?|scooter|moped|horses?|elephants?|"
    "bus|boat|skateboard|surfboard|snowboard|skis|board|car|truck|van|train|wheelchair|stroller|carriage|cart|"
    "blanket|mat|suitcase|camel|rock|ledge"
)
"""Nouns that carry people: "a man holding a racket on a skateboard" is on it himself."""
DEVICES = (
    "phones?|cell ?phones?|cellphone|telephones?|smartphone|laptops?|lap top|computers?|tablet|ipad|wii|tv|television|"
    "wheels|fire|display|sale|leash|way|side|sides|purpose|vacation|top|them|both|all"
)
"""Nouns that a person uses "on", or with which "on" has another meaning."""
PRONOUNS = (
    "it|itself|him|himself|herself|them|themselves|each other|one another|there|here|which|whom|that|what|who|"
    "to|and|or|but|with|from|is|are|in|on|of|at|by|for|off|while"
)
"""First words that rule out another object: "a car with two cats underneath it"."""
PLACE_NOUNS = "left|right|top|bottom|upper|lower|middle|center|centre|front|back|far|very|extreme|end|edge|side|corner"
"""Words that make a place of what follows a preposition, if no other noun does."""
TOPS = "(?:counter|table|lap|stove|oven|roof|desk|bench|hill) top"
"""Compounds that end in a word of place and are objects."""
POSTURES = (
    "sitting|sits|sit|sat|seated|standing|stands|stand|laying|lays|lay|lying|lies|lie|resting|rests|leaning|leans|"
    "parked|placed|located|positioned|situated|perched|stationed|planted|riding|rides|kneeling|sleeping|kept|propped|"
    "set|balanced|hung|hanging|displayed|mounted|stacked|served|held|traveling|driving|crouching|squatting|walking|"
    "posing|running|skating|surfing|snowboarding|skateboarding|stored|sleeps|waiting"
)
"""Verbs after which a relation is the target's, whatever it holds or wears."""
POSSESSING = (
    "with|w/|holding|having|has|have|carrying|showing|containing|using|cutting|putting|placing|pouring|displaying|that "
    "says|taking|throwing|setting|drawing|reading|serving|touching|playing|eating|making|typing|talking|chatting|"
    "texting|working|written|printed|painted|turned|focused|depending|trying|spread|including"
)
"""Words whose object may be what the relation places: "a dog with a ball on its nose", "typing on a laptop"."""
PORTIONS = (
    "half|halves|pieces?|parts?|portions?|sections?|slices?|front|back|backside|backs|side|sides|top|bottom|end|edge|"
    "corner|rest|inside|piles?|stacks?|bunch|bunches|groups?|pairs?|couple|rows?|set|sets|herd|flock|lot|lots|type|"
    "kind|sort|picture|photo|image|view|close ?up|one|some|image|painting|reflection"
)
"""Nouns before "of" that name a portion or an amount of the object: "half of a sandwich" is a sandwich."""
FUNCTION_WORDS = (
    "of|in|on|at|to|by|with|w/|from|for|near|next|behind|beside|besides|between|above|below|under|underneath|beneath|"
    "over|against|across|around|along|alongside|through|towards?|into|onto|off|out|up|down|away|without|"
    "as|like|than|that|which|who|whom|whose|where|while|when|and|or|but|is|are|was|were|has|have|had|does|can|not|"
    "being|just|directly|immediately"
)
"""Words that end a noun phrase."""
VERBS = (
    "sits|stands|looks|holds|wears|reaches|runs|rides|walks|lies|lays|eats|plays|faces|watches|leans|waits|takes|"
    "makes|hangs|goes|seems|appears|says|reads|smiles|talks|uses|carries|serves|pulls|works|belongs|rests|shows|"
    "sat|wore|held|worn|made|ridden|driven|shown|cut|seen|kept|hung|sit|stand"
)
"""Finite verbs and irregular participles, which end a noun phrase as well."""


def begins(words: str, text: str) -> bool:
    """Return whether a text begins with a word of a class.

    >>> begins(SCENES, "row of cups"), begins(SCENES, "rowing boat")
    (True, False)
    """
    return re.match(rf"(?:{words})(?![\w-])", text) is not None


def ends(words: str, text: str) -> bool:
    """Return whether a text ends with a word of a class."""
    return re.search(rf"(?<![\w-])(?:{words})$", text) is not None


def contains(words: str, text: str) -> bool:
    """Return whether a text contains a word of a class."""
    return re.search(rf"(?<![\w-])(?:{words})(?![\w-])", text) is not None


def is_one_of(words: str, noun: str) -> bool:
    """Return whether a noun belongs to a class."""
    return re.fullmatch(words, noun) is not None
