"""Published tables, made again: their protocols, their cells, and one page that compares."""
