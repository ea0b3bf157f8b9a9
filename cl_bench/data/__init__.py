"""Where pixels come from: datasets are found, checked and loaded by name."""

from cl_bench.data.dataset import Dataset
from cl_bench.data.inventory import report
from cl_bench.data.loading import load, load_found
from cl_bench.data.search import Found, names, resolve

__all__ = ["Dataset", "Found", "load", "load_found", "names", "report", "resolve"]
