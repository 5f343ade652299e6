"""Language models as methods and policies: boxes in texts, prompts, rewards, and the environment in words."""
