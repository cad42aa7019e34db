"""The process and the installation that gliomart runs in: processors, streams, signals, extras."""
