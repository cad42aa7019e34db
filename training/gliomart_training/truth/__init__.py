"""Where tumours are marked: masks of every kind, brought to the slices of their images."""
