"""The run record: what it holds, where it comes from, how it is kept and loaded.

Modules are imported by name (`cl_bench.results.store`), so that listing things stays fast.
"""
