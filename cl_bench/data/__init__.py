"""Where pixels come from: datasets are found, checked and loaded by name."""

from cl_bench.data.dataset import Dataset, make_dataset
from cl_bench.data.inventory import report
from cl_bench.data.loading import load, load_found
from cl_bench.data.own import (
    add,
    added,
    from_arrays,
    from_folder,
    from_huggingface,
    from_npz,
    from_path,
)
from cl_bench.data.search import Found, names, resolve

__all__ = [
    "Dataset",
    "Found",
    "add",
    "added",
    "from_arrays",
    "from_folder",
    "from_huggingface",
    "from_npz",
    "from_path",
    "load",
    "load_found",
    "make_dataset",
    "names",
    "report",
    "resolve",
]
