"""What a run leaves behind: results as JSON and CSV, overlays, maps and masks."""
