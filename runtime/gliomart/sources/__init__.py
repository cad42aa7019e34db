"""From paths to slices.

:func:`scan` walks the inputs once, reading no pixels, and groups what it finds into series;
:func:`read_series` turns a series into axial slices in anatomical order, and :func:`read` one file
into the slices that it holds. A file is what its content says, and a name that says something else
is a refusal, not a guess.
"""

from gliomart.sources.budget import DEFAULT, Budget
from gliomart.sources.inventory import Inventory, SeriesFiles, SourceFile, Study
from gliomart.sources.reading import headers, read, read_series
from gliomart.sources.scanning import scan, scan_datasets
from gliomart.sources.singles import Single, singles
from gliomart.sources.walk import is_hidden

__all__ = [
    "DEFAULT", "Budget", "Inventory", "SeriesFiles", "Single", "SourceFile", "Study",
    "headers", "is_hidden", "read", "read_series", "scan", "scan_datasets", "singles",
]  # fmt: skip
