"""Compare methods of visual grounding under one evaluator.

python evaluate.py --methods clip-window,agent:refshapes --dataset refshapes --split test --out results/first
python evaluate.py --methods clip-window --dataset refcocog-umd --root DIR --clip ViT-B-32:openai --out results/b32
python evaluate.py --methods mdetr --dataset refcocog-umd --root DIR --runner ray --workers 8 --out results/mdetr
python evaluate.py --recorded FILE.json --out results/recorded
"""

from vg_gym.cli.evaluate import main
from vg_gym.cli.run import run

if __name__ == "__main__":
    run(lambda: main(__doc__))
