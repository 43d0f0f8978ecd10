"""One file a revision, numbered. A revision never follows later edits of `tables.py`: it spells its columns out."""
