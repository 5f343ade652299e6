"""The house rules that a machine can check."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*command):
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_is_clean():
    run("-m", "ruff", "check", ".")
    run("-m", "ruff", "format", "--check", ".")


def test_types_check():
    run("-m", "mypy")


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"torch", "open_clip", "PIL", "stable_baselines3", "torchvision", "pycocotools"}
    run("-c", f"import sys, vg_gym; bad = {heavy} & set(sys.modules); assert not bad, bad")


def test_rooms_import_one_way():
    """DESIGN's order of the rooms: who may import whom."""
    allowed = {
        "data": {"data"},
        "clip": {"clip", "data", "registry", "config", "cli"},
        "envs": {"envs", "clip", "data", "registry", "config"},
        "learned": {"learned", "clip", "data", "registry", "training", "config", "evaluation"},
        "baselines": {"baselines", "learned", "clip", "data", "registry", "training", "config"},
        "diffusion": {"diffusion", "learned", "clip", "data", "registry", "training", "config"},
        "agents": {"agents", "envs", "clip", "data", "registry", "config", "threads"},
        "evaluation": {"evaluation", "clip", "registry"},
    }
    for room, may in allowed.items():
        for file in (ROOT / "vg_gym" / room).rglob("*.py"):
            for line in file.read_text().splitlines():
                words = line.split()
                if len(words) > 1 and words[0] in ("from", "import") and words[1].startswith("vg_gym."):
                    other = words[1].split(".")[1]
                    everybody = {"types", "boxes", "files", "shards", "runners"}
                    assert other in may | everybody, f"{file.relative_to(ROOT)}: {line.strip()}"
