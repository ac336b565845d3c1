"""Training: fine-tuning, distillation and evaluation of models."""
