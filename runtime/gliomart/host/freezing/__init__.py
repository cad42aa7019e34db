"""What PyInstaller is told of gliomart, through the entry point ``hook-dirs`` of the package."""

from __future__ import annotations

from pathlib import Path


def hook_dirs() -> list[str]:
    """Folders of hooks (PyInstaller, *Understanding PyInstaller Hooks*, Providing hooks)."""
    return [str(Path(__file__).parent)]
