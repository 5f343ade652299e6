"""Fine-tune a CLIP on box-text pairs, or train the small built-in one.

python train_clip.py configs/clip_refshapes.yaml
python train_clip.py clip=ViT-B-32:openai dataset=refcocog-umd root=DIR train_image_blocks=4 out=runs/clip-b32
"""

from vg_gym.cli.run import run
from vg_gym.cli.train import main

if __name__ == "__main__":
    run(lambda: main("clip"))
