"""The dock widget “Fine-tune on labels”."""
