"""Leaderboards: one protocol a board, entries made from run records, tables made from entries.

`records` turns stored runs into entries, `standings` ranks them, `pages` writes the tables, and
`board` builds and verifies the folder that holds it all. `streams` and `rerun` check it against
the data and against runs that are made again.
"""
