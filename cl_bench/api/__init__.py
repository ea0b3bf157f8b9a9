"""What the command line does, for Python: run, tune, look at what came of it, look things up.

The commands are thin layers over this room, so that both do the same.
"""
