"""Measuring a model on slices with tumour masks, beside trivial baselines."""
