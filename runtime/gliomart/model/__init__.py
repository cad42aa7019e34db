"""A model file: its structure held within bounds, its card, and what it predicts."""
