"""What commands that train share: their options."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cl_bench.errors import UserError


class Device(StrEnum):
    """Where a plan is trained."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


StrategyOption = Annotated[
    list[str] | None,
    typer.Option(help="Names or ./files.py, separated by commas; may be repeated."),
]
BenchmarkOption = Annotated[str | None, typer.Option(help="See `list benchmarks`.")]
NetworkOption = Annotated[
    str | None, typer.Option(help="A name (mlp, convnet, resnet18, linear) or ./file.py.")
]
TasksOption = Annotated[int | None, typer.Option(help="Number of tasks.")]
ScenarioOption = Annotated[str | None, typer.Option(help="task, domain or class.")]
SeedsOption = Annotated[
    str | None,
    typer.Option(help="Number of seeds (default 5), or the seeds themselves, such as 5,6,7."),
]
ConfigOption = Annotated[
    str | None, typer.Option(help="A protocol: a name of `list configs` or a YAML file.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Such as training.epochs=2 or ewc.strength=[10,100] (a grid); may be repeated.",
    ),
]
DeviceOption = Annotated[Device, typer.Option(help="auto is cuda where there is one.")]
WorkersOption = Annotated[
    int | None, typer.Option(help="Processes (default: one a core; 1 on cuda).", min=1)
]


def _folder_there(data_dir: Path | None) -> Path | None:
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"--data-dir {data_dir}: there is no such folder")
    return data_dir


DataDirOption = Annotated[
    Path | None, typer.Option(help="Folder to search for data first.", callback=_folder_there)
]
DownloadOption = Annotated[
    bool, typer.Option("--download/--no-download", help="Fetch data that are missing.")
]
