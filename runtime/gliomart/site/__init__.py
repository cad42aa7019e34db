"""A site's own: what it has seen, and what it is held to."""
