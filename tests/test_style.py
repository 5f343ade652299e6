"""The house rules that a machine can check."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("architecture", ROOT / "docs/architecture.py")
assert SPEC and SPEC.loader
architecture = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(architecture)
imported, modules, room_of = architecture.imported, architecture.modules, architecture.room_of


def run(*command):
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"torch", "open_clip", "PIL", "stable_baselines3", "torchvision", "pycocotools"}
    run("-c", f"import sys, vg_gym; bad = {heavy} & set(sys.modules); assert not bad, bad")


STRANGERS = {"envs", "baselines", "diffusion"}
"""Rooms that do not know each other."""


def test_rooms_import_one_way():
    """DESIGN's order of the rooms; every form of import counts, and in rooms those for types too."""
    order = (*architecture.GROUND, *architecture.ROOMS)
    wrong = []
    for module, (tree, package) in modules().items():
        room = room_of(module)
        if not room:
            continue
        assert room in order, f"{module} is in no room of the house"
        for name, typed in imported(tree, module, package):
            other = room_of(name)
            if other == room or other not in order and name.count(".") == 1:  # vg_gym's own names: __version__
                continue
            late = order.index(other) > order.index(room)
            strange = {room, other} <= STRANGERS
            if strange or (late and not (typed and room in architecture.GROUND)):
                wrong.append(f"{module} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_circles():
    """No module imports, directly or by others, a module that imports it; imports inside functions and for types count.

    Of the ground alone, imports for types are left out: the registry names the protocols of what it builds.
    """
    known = modules()
    edges = {
        module: {
            target
            for name, typed in imported(tree, module, package)
            if not (typed and room_of(module) in architecture.GROUND)
            for target in [name if name in known else name.rpartition(".")[0]]
            if target in known and target != module
        }
        for module, (tree, package) in known.items()
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in sorted(edges[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in edges:
        visit(module, ())


def test_the_import_rule_sees_every_form():
    source = """
import vg_gym.a
import vg_gym.b as b
from vg_gym import c
from vg_gym.d import x
from . import e
from .f import y
from ..g import z
import importlib
importlib.import_module("vg_gym.h")
if TYPE_CHECKING:
    from vg_gym.i import I
def inside():
    from vg_gym.j import J
"""
    found = dict(imported(ast.parse(source), "vg_gym.room.module", is_package=False))
    assert set(found) == {
        "vg_gym.a", "vg_gym.b", "vg_gym.c", "vg_gym.d.x", "vg_gym.room.e", "vg_gym.room.f.y", "vg_gym.g.z", "vg_gym.h",
        "vg_gym.i.I", "vg_gym.j.J",
    }  # fmt: skip
    assert found["vg_gym.i.I"] and not found["vg_gym.a"]


def test_the_picture_of_the_imports_is_current():
    assert architecture.PICTURE.read_text() == architecture.picture(), "run: python docs/architecture.py"


ROLES = {"config", "dataset", "expressions", "factory", "grounder", "model", "options", "protocol", "scenes"}
"""Names of modules that play the same role in several rooms: ``config`` is always the options of a
training, ``dataset`` a world."""
COMMANDS = {"demo", "ground", "train"}
"""Names of modules of ``cli`` that are called like the module whose functions they run."""


def test_a_module_name_has_one_subject():
    files = [module for module, (_, is_package) in modules().items() if not is_package]
    names = Counter(module.rpartition(".")[2] for module in files)
    repeated = {name for name, count in names.items() if count > 1} - ROLES - COMMANDS
    assert not repeated, f"these names have several subjects, rename a module: {sorted(repeated)}"
    assert all(names[name] == 2 and f"vg_gym.cli.{name}" in files for name in COMMANDS)


OPTION_FIELDS = ("Config", "Options", "Sampling")
"""Ends of the names of dataclasses whose fields are options."""
USER_ERRORS = {"VGGymError", "DatasetNotFound", "unknown", "missing_extra", "ValueError"}
"""What is raised, or makes what is raised, on a mistake of the user's."""


def classes() -> dict[str, ast.ClassDef]:
    """Every class of the package by its own name."""
    trees = (tree for tree, _ in modules().values())
    return {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def method_doc(owner: ast.ClassDef, name: str, known: dict[str, ast.ClassDef]) -> str:
    """The docstrings of a method and of those it overrides; a constructor's is its class's, too."""
    own = [node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == name]
    docs = [ast.get_docstring(node) or "" for node in own]
    if name == "__init__":
        docs.append(ast.get_docstring(owner) or "")
    bases = (known.get(ast.unparse(base).split(".")[-1].split("[")[0]) for base in owner.bases)
    return "\n\n".join([*docs, *(method_doc(base, name, known) for base in bases if base and base is not owner)])


def public_functions(tree: ast.Module, known: dict[str, ast.ClassDef]) -> Iterator[tuple[str, ast.FunctionDef, str]]:
    """Name, node and docstring of every public function, method and constructor of a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node, ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and (inner.name == "__init__" or not inner.name.startswith("_")):
                    yield f"{node.name}.{inner.name}", inner, method_doc(node, inner.name, known)


def own_raises(node: ast.AST) -> Iterator[ast.Raise]:
    """The ``raise`` statements of a function, without those of functions inside it."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.Raise):
            yield inner
        if not isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from own_raises(inner)


def raises_user_error(node: ast.FunctionDef) -> bool:
    called = (raised.exc.func for raised in own_raises(node) if isinstance(raised.exc, ast.Call))
    return any(ast.unparse(function).split(".")[-1] in USER_ERRORS for function in called)


def documented_args(doc: str) -> set[str]:
    """Names in the ``Args:`` sections of a docstring; ``a, b: text`` documents both."""
    sections = re.findall(r"^Args:\n((?:(?: +.*)?\n?)*)", doc, re.MULTILINE)
    heads = (head for section in sections for head in re.findall(r"^ {4}([\w*, ]+):", section, re.MULTILINE))
    return {name.strip(" *") for head in heads for name in head.split(",")}


def undocumented(tree: ast.Module, known: dict[str, ast.ClassDef]) -> Iterator[str]:
    """What the docstrings of a module do not say."""
    for name, node, doc in public_functions(tree, known):
        given = [*node.args.posonlyargs, *node.args.args, node.args.vararg, *node.args.kwonlyargs, node.args.kwarg]
        names = [argument.arg for argument in given if argument and argument.arg not in ("self", "cls")]
        if len(names) >= 4 and (missing := [arg for arg in names if arg not in documented_args(doc)]):
            yield f"{name}: no Args of {', '.join(missing)}"
        if raises_user_error(node) and not re.search("^Raises:$", doc, re.MULTILINE):
            yield f"{name}: no Raises"
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.endswith(OPTION_FIELDS):
            for field, after in zip(node.body, [*node.body[1:], None], strict=True):
                described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                if isinstance(field, ast.AnnAssign) and not described:
                    yield f"{node.name}.{ast.unparse(field.target)}: no docstring"


def test_docstrings_are_whole():
    """Args from four parameters on, Raises where it raises, a docstring under every option; overrides inherit."""
    known = classes()
    wrong = [f"{module}.{line}" for module, (tree, _) in modules().items() for line in undocumented(tree, known)]
    assert not wrong, "\n".join(wrong)


def test_the_docstring_rule_sees_what_is_missing():
    source = '''
def four(a, b, *c, **d):
    """No arguments."""
    raise unknown("a", a, b)
class Base:
    """Four.

    Args:
        a, b: two.
        c: one.
        **d: one.
    """
    def method(self):
        """Raise.

        Raises:
            VGGymError: always.
        """
class Public(Base):
    """The arguments are those of its base."""
    def __init__(self, a, b, c, **d):
        raise VGGymError("no")
    def method(self):
        raise VGGymError("no")
    def nested(self):
        def inner():
            raise VGGymError("no")
class MyOptions:
    one: int = 1
    """One."""
    two: int = 2
'''
    tree = ast.parse(source)
    known = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    assert list(undocumented(tree, known)) == [
        "four: no Args of a, b, c, d", "four: no Raises", "Public.__init__: no Raises", "MyOptions.two: no docstring"
    ]  # fmt: skip
