"""Words by which people name the 80 classes of COCO, and the classes that a noun may mean.

A noun may mean several classes ("bike": bicycle or motorcycle), and a class has several names. A noun that the table
does not hold means the class of the same name, if a detector has one ("star"), and otherwise nothing is known.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache

from vg_gym.language.nouns import noun_phrase
from vg_gym.language.word_classes import BODY, is_one_of

MIN_SIMILARITY = 0.85
"""Similarity (difflib's ratio) from which a noun is a misspelt name of a class; "jacket" to "racket" has 0.83."""
MIN_LETTERS = 5
"""Letters of the shortest noun that is compared with the table."""

COCO_CLASSES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,"
    "snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,"
    "fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
).split(",")
"""Names of the classes in the order of COCO's detectors."""

PERSON = (
    "person|people|persons|man|men|woman|women|boy|boys|girl|girls|lady|ladies|guy|guys|kid|kids|child|children|baby|"
    "toddler|infant|male|female|gentleman|gentlemen|lad|dude|adult|teen|teenager|someone|somebody|human|youth|"
    "player|batter|hitter|catcher|pitcher|umpire|referee|baseman|outfielder|goalie|goalkeeper|athlete|skier|"
    "snowboarder|skateboarder|skater|surfer|boarder|rider|biker|cyclist|bicyclist|motorcyclist|jockey|driver|passenger|"
    "pedestrian|officer|policeman|cop|soldier|guard|fireman|worker|employee|chef|cook|waiter|waitress|server|"
    "bartender|bride|groom|couple|mother|mom|father|dad|parent|son|daughter|brother|sister|grandmother|grandma|"
    "grandfather|friend|spectator|fan|audience|crowd|coach|teacher|student|doctor|nurse|farmer|cowboy|businessman|"
    "photographer|cameraman|individual|figure|customer|shopper|vendor|trainer|handler|zookeeper|leaguer|"
    "pilot|actor|actress|model|singer|musician|dancer|performer|artist|kicker|brunette|blonde|blond|redhead|opponent|runner|fielder|shortstop|swimmer|tourist|santa|speaker|presenter|"
    "hand|hands|arm|arms|leg|legs|face|head|hair|torso|shoulder|finger|fingers|lap|clown|body|feet|foot|mohawk"
)
"""Words for people and parts of them."""

_ANIMALS = "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe"
_VEHICLES = "bicycle,car,motorcycle,airplane,bus,train,truck,boat"
_NAMES = {
    "person": PERSON.replace("|", ","),
    "bicycle": "bike,cycle,tricycle,bycicle",
    "motorcycle": "bike,motorbike,motor bike,scooter,moped,harley,vespa,cycle,motocycle,motorcyle",
    "car": "suv,van,sedan,taxi,cab,jeep,minivan,automobile,hatchback,wagon,limo,cars,convertible,pickup,auto",
    "truck": "van,suv,pickup,pick up,lorry,semi,trailer,firetruck,jeep,ambulance,tractor,rig,cart,truk,tow truck",
    "bus": "coach,double decker,decker,minibus,trolley,tram,van,buss",
    "train": "locomotive,tram,trolley,subway,engine,caboose,railcar,streetcar,train car,tram",
    "airplane": "plane,jet,aeroplane,aircraft,airliner,helicopter,jetliner,biplane,air plane,fighter,glider",
    "boat": "ship,sailboat,canoe,kayak,yacht,ferry,tugboat,raft,vessel,speedboat,gondola,dinghy,tug,barge,motorboat",
    "traffic light": "light,signal,stoplight,stop light,lights,traffic signal",
    "fire hydrant": "hydrant",
    "stop sign": "sign",
    "parking meter": "meter",
    "bench": "pew,seat,bleacher,bleachers,picnic table",
    "bird": "chicken,duck,goose,geese,pigeon,seagull,gull,parrot,swan,hen,rooster,eagle,owl,ostrich,peacock,crow,"
    "turkey,penguin,flamingo,hawk,parakeet,sparrow,pelican,crane,heron,robin,stork,cockatoo,duckling",
    "cat": "kitten,kitty,feline,tabby",
    "dog": "puppy,pup,poodle,retriever,terrier,hound,bulldog,dachshund,labrador,lab,corgi,collie,pug,canine,dalmatian,"
    "beagle,chihuahua,husky,shepherd",
    "horse": "pony,foal,colt,mare,stallion,donkey,mule,ponies",
    "sheep": "lamb,ram,ewe,goat,lambs",
    "cow": "bull,calf,cattle,ox,oxen,steer,calves,heifer,buffalo,bison,bovine",
    "elephant": "calf,elephants,elepant",
    "bear": "cub,polar bear,panda,grizzly",
    "zebra": "foal,zebras,zibra",
    "giraffe": "calf,girafe,giraff,giraffee",
    "backpack": "bag,pack,rucksack,knapsack,back pack,bookbag,luggage",
    "umbrella": "parasol,canopy,shade",
    "handbag": "bag,purse,tote,pocketbook,satchel,pouch,luggage",
    "tie": "necktie,bowtie,bow tie",
    "suitcase": "bag,luggage,baggage,case,trunk,briefcase,duffel,suit case",
    "frisbee": "disc,disk,frisbie",
    "skis": "ski,skiis",
    "snowboard": "board,snow board",
    "skateboard": "board,skate board,skatboard",
    "surfboard": "board,surf board,paddleboard,boogie board,bodyboard",
    "sports ball": "ball,football,basketball,baseball,soccer ball,tennis ball",
    "baseball bat": "bat",
    "baseball glove": "glove,mitt",
    "tennis racket": "racket,racquet,tennis racquet,raquet",
    "bottle": "wine,beer,ketchup,jar,container,water,shampoo,sauce,flask",
    "wine glass": "glass,wineglass,wine,goblet,champagne,flute,drink,water",
    "cup": "mug,glass,coffee,drink,tea,juice,beverage,tumbler,beer,water,milk,soda,beaker,teacup,pitcher,container,can,"
    "lemonade,smoothie,candle,latte,yogurt,sauce",
    "bowl": "dish,soup,salad,container,cereal,pan,rice,basin,pasta,food,noodles,stew,oatmeal,sauce,casserole,plate,dip,"
    "yogurt,pot,potatoes,chili,curry",
    "knife": "knives,blade",
    "fork": "forks",
    "spoon": "spatula,ladle",
    "banana": "fruit",
    "apple": "fruit",
    "orange": "fruit,tangerine,lemon,grapefruit,clementine,citrus,mandarin,lime",
    "sandwich": "burger,hamburger,sub,wrap,panini,toast,bagel,bun,bread,burrito,sandwhich,food,taco,hoagie,"
    "cheeseburger,sandwiche,toast,bite,quesadilla,roll,gyro",
    "broccoli": "vegetable,vegetables,veggie,veggies,brocolli,floret,cauliflower,brocoli",
    "carrot": "vegetable,vegetables,veggie,veggies",
    "hot dog": "hotdog,sausage,dog,frank,bratwurst,brat,wiener,chili dog,bun",
    "pizza": "pie,calzone,pepperoni,flatbread,pizzas",
    "donut": "doughnut,pastry,bagel,pastries,beignet,cruller",
    "cake": "cupcake,dessert,pastry,pie,muffin,brownie,cheesecake,cupcakes,icing,frosting,tart,pancake,pastries",
    "chair": "seat,stool,armchair,recliner,rocker,highchair,wheelchair,high chair,rocking chair,barstool,chaise,couch,"
    "lounger,lawn chair,throne,cushion",
    "couch": "sofa,loveseat,love seat,futon,settee,sectional,ottoman,cushion,cushions,pillow,chaise,seat,armchair,"
    "recliner",
    "potted plant": "plant,flower,flowers,tree,pot,houseplant,fern,planter,bush,bouquet,cactus,flowerpot,shrub,plants",
    "bed": "mattress,bunk,cot,crib,bunkbed,bedspread,comforter,blanket,sheets,pillow,quilt,bunk bed,covers",
    "dining table": "table,desk,counter,tablecloth,tabletop,countertop,bar,coffee table,table top",
    "toilet": "commode,urinal,bidet,potty,toliet",
    "tv": "television,monitor,screen,display,computer,flatscreen,telly,computer monitor",
    "laptop": "computer,notebook,macbook,screen,lap top,netbook,monitor",
    "remote": "controller,control,wiimote,wii remote,remote control",
    "cell phone": "phone,cellphone,smartphone,iphone,blackberry,mobile,telephone,device,flip phone",
    "microwave": "oven",
    "oven": "stove,range,stovetop,burner,grill,cooker",
    "sink": "basin,faucet,washbasin",
    "refrigerator": "fridge,freezer,refridgerator,frig",
    "book": "notebook,magazine,novel,paper,textbook,menu,binder,newspaper,books",
    "clock": "watch,timer,clockface",
    "vase": "pot,urn,pitcher,jar,jug,flowers,flower,bouquet,planter,vase",
    "scissors": "scissor,shears",
    "teddy bear": "bear,teddy,toy,doll,plush,animal,stuffed animal,bunny,teddybear",
    "hair drier": "hairdryer,dryer,blow dryer,hair dryer",
    "toothbrush": "brush,tooth brush",
}
_GROUPS = {"animal": _ANIMALS, "vehicle": _VEHICLES}


@lru_cache(maxsize=1)
def _table() -> dict[str, frozenset[str]]:
    """Return noun or last words -> classes it may mean."""
    classes: dict[str, set[str]] = {name: {name} for name in COCO_CLASSES}
    for name, words in _NAMES.items():
        for word in words.split(","):
            classes.setdefault(word, set()).add(name)
    for word, names in _GROUPS.items():
        classes.setdefault(word, set()).update(names.split(","))
    return {word: frozenset(names) for word, names in classes.items()}


def meanings(phrase: str) -> frozenset[str]:
    """Return the classes that a lower-case phrase may mean, with its noun itself; empty if its noun is not known.

    The noun is the last two words of the phrase's first noun phrase, or the last one. A part of a body stands for its
    owner if that is named: "the giraffe's head".

    >>> sorted(meanings("two red bikes near a car")), sorted(meanings("a zebra's head"))
    (['bicycle', 'bikes', 'motorcycle'], ['zebra'])
    """
    words = noun_phrase(phrase).split()
    if words and is_one_of(BODY, words[-1]):
        owner = phrase.rpartition(f"{words[-1]} of ")[2] if f"{words[-1]} of " in phrase else " ".join(words[:-1])
        if named := meanings(owner.removesuffix("'s")) if owner else frozenset():
            return named
    for count in (2, 1):
        word = " ".join(words[-count:])
        singular = next((name for name in singulars(word) if name in _table()), None) if len(words) >= count else None
        if singular:
            return _table()[singular] | {word}
    return _misspelt(words[-1]) if words else frozenset()


@lru_cache(maxsize=4096)
def _misspelt(word: str) -> frozenset[str]:
    """Return the classes of the most similar word of the table: "girrafe"; only itself if there is none."""
    similar = get_close_matches(word, _table(), n=1, cutoff=MIN_SIMILARITY) if len(word) >= MIN_LETTERS else []
    return (_table()[similar[0]] if similar else frozenset()) | {word}


def singulars(word: str) -> list[str]:
    """Return a word and the words that it may be the plural of."""
    endings = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""))
    return [word, *(word[: -len(end)] + new for end, new in endings if word.endswith(end) and len(word) > len(end) + 1)]
