"""Slices, their geometry (LPS, mm), and the way into a model's grid and exactly back."""
