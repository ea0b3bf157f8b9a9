"""Finished runs in Python's hands: their tables, their comparison and their picture."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cl_bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from cl_bench.report import selection
    from cl_bench.report.picture import Picture


class Runs:
    """Some of the runs in a folder, loaded; in a notebook it shows its table by itself.

    `cl_bench.run` returns one; `Runs.read("runs", strategies=["ewc"])` is of what was run before.
    """

    def __init__(self, chosen: selection.Runs) -> None:
        self._chosen = chosen

    @classmethod
    def read(
        cls,
        out: str | Path = "runs",
        *,
        strategies: Collection[str] = (),
        benchmarks: Collection[str] = (),
        protocol: str | None = None,
    ) -> Runs:
        """Return the runs of a folder that fit; an empty choice is all of them.

        Args:
            out: the folder of the runs.
            strategies: only these, by name.
            benchmarks: only runs of these, by name.
            protocol: only this one: the start of its id or of its words, as `compare` lists them.

        Raises:
            UserError: there is no such folder, there are no runs, or a choice chooses none.
        """
        from cl_bench.report import selection

        chosen = selection.select(
            Path(out),
            strategies=[strategies] if isinstance(strategies, str) else strategies,
            benchmarks=[benchmarks] if isinstance(benchmarks, str) else benchmarks,
            protocol=protocol,
        )
        if not chosen:
            raise UserError(f"there are no runs in {out}")
        return cls(chosen)

    @classmethod
    def of(cls, out: Path, run_ids: Collection[str]) -> Runs | None:
        """Return the runs of these ids that are in a folder; None where none is."""
        from cl_bench.report import selection

        chosen = selection.select(out, run_ids=run_ids)
        return cls(chosen) if chosen.stored else None

    @property
    def out(self) -> Path:
        """The folder that they are in."""
        return self._chosen.out

    @property
    def ids(self) -> list[str]:
        """Their ids: 16 hexadecimal digits of what they are of."""
        return [run.config.run_id for run in self._chosen.stored]

    @property
    def frame(self) -> pd.DataFrame:
        """The accuracies, a row for each run, `after_task` and `task`, as `cl_bench.load` has them.

        NaN for runs that diverged, whose answers are no result.
        """
        return self._chosen.accuracy

    @property
    def metrics(self) -> pd.DataFrame:
        """A row a run with a column for each metric, as `cl_bench.load(…, "metrics")`."""
        return self._chosen.metrics

    @property
    def notes(self) -> list[str]:
        """What has to be said of them: which records are damaged, and which runs diverged."""
        return self._chosen.notes

    def table(self) -> pd.DataFrame:
        """Return a row a configuration: accuracy by task at the end, headline metrics, intervals.

        Intervals are of the mean over seeds, at 95 %.
        """
        import pandas as pd

        from cl_bench.report import tables

        return pd.DataFrame(tables.results(self._chosen))

    def compare(
        self,
        metrics: str | Iterable[str] = ("average_accuracy", "forgetting"),
        *,
        power: float | None = None,
    ) -> pd.DataFrame:
        """Return a row for each two configurations of one protocol and metric, paired by seed.

        Args:
            metrics: names of `list metrics`.
            power: also say how many seeds show a true difference of this size.

        Returns:
            A less B as `difference`, with its interval (`low`, `high`), Holm's corrected p
            (`p_holm`) and the `verdict`; no rows where there is nothing to pair.

        Raises:
            UserError: there is no metric of a name.
        """
        import pandas as pd

        from cl_bench.metrics.comparison import compare
        from cl_bench.report.differences import differences

        wanted = [metrics] if isinstance(metrics, str) else list(metrics)
        rows = [
            row
            for metric in wanted
            for row in differences(compare(self._chosen.metrics, metric), power=power)
        ]
        return pd.DataFrame(rows)

    def plot(self, path: str | Path | None = None) -> Picture:
        """Return the forgetting curves, which show themselves in a notebook.

        Args:
            path: also draw them to this .svg, .png or .html file.

        Raises:
            UserError: the runs are of several protocols, all diverged, or the file cannot be
                written.
        """
        from cl_bench.report.picture import Picture

        found = self._chosen.protocols
        if len(found) > 1:
            raise UserError(
                f"these runs are of {len(found)} protocols, and a picture is of one; choose it: "
                'Runs.read(out, protocol="…")'
            )
        picture = Picture.of(self._chosen.accuracy)
        if path is not None:
            picture.save(path)
        return picture

    def __len__(self) -> int:
        return len(self._chosen.stored)

    def __repr__(self) -> str:
        return f"{len(self)} runs in {self.out}\n{self._for_people().to_string(index=False)}"

    def _repr_html_(self) -> str:
        return self._for_people().to_html(index=False)

    def _for_people(self) -> pd.DataFrame:
        import pandas as pd

        from cl_bench.report import tables

        return pd.DataFrame(tables.results(self._chosen, people=True))
