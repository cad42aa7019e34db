"""What is said of an image: whether a model answers for it, scores, verdicts, results."""
