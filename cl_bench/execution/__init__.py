"""Carries out a plan: trains its stacks on this machine and keeps every record as it comes.

Modules are imported by name, so that being interruptible (`signals`) costs a command no start.
"""
