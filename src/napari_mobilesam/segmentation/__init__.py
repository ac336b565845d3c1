"""One image, in memory: embed, prompt, segment everything, refine."""
