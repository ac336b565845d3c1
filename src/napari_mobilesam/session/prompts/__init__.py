"""From prompts to objects: the open object, hover, batches and stacks."""
