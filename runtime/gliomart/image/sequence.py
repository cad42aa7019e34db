"""MR sequences that whoever gives images may say they are of."""

from __future__ import annotations

# By the words that commands and programs take; T1C is T1 after contrast.
GIVEN = {"flair": "FLAIR", "t1": "T1", "t1c": "T1C", "t2": "T2"}
