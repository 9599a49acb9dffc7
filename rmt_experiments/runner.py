"""How an experiment is run, stored beside its script, and read back by the chapters.

A script `rmt_experiments/NAME.py` defines `EXPERIMENT = Experiment(name="NAME", ...)`: a list of settings and a
function that measures one of them. The result, `rmt_experiments/NAME.csv`, has a row for each setting (or several,
where one run measures a whole curve), under comments that say from which script, seed, trials and versions it comes and
how long it took. A measurement depends on the experiment's seed and the number of its setting alone: not on the other
settings, not on the number of workers, not on whether a run was interrupted.
"""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import itertools
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from rmt_lib import Simulation
from rmt_lib.checks import Array
from rmt_lib.datasets.fetch import MissingDataError
from rmt_lib.execution import in_order_of_completion, progress

FOLDER = Path(__file__).parent
Setting = Mapping[str, Any]
Row = dict[str, Any]
Measure = Callable[[Setting, int, np.random.SeedSequence], Mapping[str, Any] | Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Experiment:
    """What to measure.

    Attributes
    ----------
    name
        Name of the script, without `.py`.
    seed
        Of the whole experiment; setting i draws from `SeedSequence(seed, spawn_key=(i,))`.
    trials
        Repetitions of each setting in the stored result.
    settings
        Mappings of parameters, all with the same keys.
    measure
        Called as `measure(setting, trials, seed)`, gives the measured columns of a row, or a list of them for several
        rows. A function at the top level of the script, so that another process can call it.
    packages
        What the result depends on besides numpy and scipy; their versions are stored, too.
    """

    name: str
    seed: int
    trials: int
    settings: Sequence[Setting]
    measure: Measure
    packages: tuple[str, ...] = ()

    def rows(self, number: int, trials: int | None = None) -> list[Row]:
        """Rows of one setting; `trials` fewer than stored make a small run of the same script."""
        seed = np.random.SeedSequence(self.seed, spawn_key=(number,))
        setting = self.settings[number]
        with threadpool_limits(limits=1, user_api="blas"):  # sums are added in the same order everywhere
            measured = self.measure(setting, self.trials if trials is None else trials, seed)
        return [{**setting, **row} for row in ([measured] if isinstance(measured, Mapping) else measured)]


@dataclass(frozen=True)
class Table:
    """A stored result: `table["accuracy"]` is a column, `table.where(p=50)` the rows where p is 50."""

    columns: Mapping[str, np.ndarray]
    provenance: Mapping[str, str]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, **values: Any) -> Table:
        """The rows with these values; ValueError if there is none."""
        chosen = np.all([self.columns[name] == value for name, value in values.items()], axis=0)
        if not chosen.any():
            raise ValueError(f"no row has {values}")
        return Table({name: column[chosen] for name, column in self.columns.items()}, self.provenance)


def summary(simulation: Simulation) -> dict[str, float]:
    """Mean over trials and standard error of mean, variance and accuracy, as columns of a row."""
    columns = {}
    for name in ("mean", "variance", "accuracy"):
        columns[name], columns[f"{name}_se"] = simulation.estimate(name)
    return columns


def estimate(values: Array) -> tuple[Array, Array]:
    """Mean over the trials, which are the first axis, and its standard error."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def averages(measured: Mapping[str, Array]) -> Row:
    """`estimate` of each, as columns of a row."""
    row = {}
    for name, values in measured.items():
        row[name], row[f"{name}_se"] = estimate(values)
    return row


def names() -> list[str]:
    """The experiments there are: the scripts that define EXPERIMENT."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if "\nEXPERIMENT = " in path.read_text("utf8"))


def load(name: str) -> Experiment:
    """The experiment of `rmt_experiments/NAME.py`."""
    return importlib.import_module(f"rmt_experiments.{name}").EXPERIMENT


def read(name: str) -> Table:
    """The stored result of an experiment; FileNotFoundError tells how to make it."""
    path = FOLDER / f"{name}.csv"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run python -m rmt_experiments {name}")
    with path.open(encoding="utf8", newline="") as file:
        provenance = {}
        for line in file:
            if not line.startswith("# "):
                break
            key, _, value = line[2:].strip().partition(": ")
            provenance[key] = value
        header = next(csv.reader([line]))
        columns = zip(header, zip(*csv.reader(file), strict=True), strict=True)
        return Table({name: _column(values) for name, values in columns}, provenance)


def store(experiment: Experiment, *, executor: Executor | None = None) -> Path:
    """Run all of an experiment and write its result; what an interrupted run had finished is not run again."""
    path = FOLDER / f"{experiment.name}.csv"
    partial = path.with_suffix(".partial")
    packages = ("numpy", "scipy", *experiment.packages)
    provenance = {
        "script": f"rmt_experiments/{experiment.name}.py",
        "seed": experiment.seed,
        "trials": experiment.trials,
        "versions": ", ".join([f"Python {platform.python_version()}", *map(_version, packages)]),
    }
    settings = [dict(setting) for setting in experiment.settings]
    head = [provenance, settings]
    with unfinished(partial, head, total=len(settings), desc=experiment.name, unit="setting") as (results, add):
        for result in _run(experiment, results, executor):
            add(result)
    measured = {number: rows for number, rows, _ in results}
    provenance["seconds"] = f"{sum(seconds for *_, seconds in results):.0f}"
    with path.open("w", encoding="utf8", newline="") as file:
        file.writelines(f"# {name}: {value}\n" for name, value in provenance.items())
        writer = csv.DictWriter(file, fieldnames=list(measured[0][0]), lineterminator="\n")
        writer.writeheader()
        for row in itertools.chain.from_iterable(measured[number] for number in sorted(measured)):
            writer.writerow({name: v if isinstance(v, str) else f"{v:.12g}" for name, v in row.items()})
    partial.unlink()
    return path


@contextmanager
def unfinished(
    path: Path, head: Sequence[Any], *, total: int, desc: str, unit: str
) -> Iterator[tuple[list[Any], Callable[[Any], None]]]:
    """What an interrupted run left in the file `path`, and a function that adds a result to the list and the file.

    The file has a line of JSON for each result, under one that tells what they are results of. Nothing is left under
    another `head`. The file is the caller's to remove, once the results are stored elsewhere.
    """
    first = json.dumps(head)
    # The last line is empty, or was cut short.
    lines = path.read_text("utf8").split("\n")[:-1] if path.exists() else []
    results: list[Any] = []
    with path.open("w", encoding="utf8") as file, progress(total=total, desc=desc, unit=unit) as bar:

        def add(result: Any) -> None:
            results.append(result)
            file.write(json.dumps(result) + "\n")
            file.flush()
            bar.update()

        file.write(first + "\n")
        for line in lines[1:] if lines[:1] == [first] else []:
            add(json.loads(line))
        yield results, add


Result = tuple[int, list[Row], float]
"""Number of the setting, its rows, seconds they took."""


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError as error:
        remedy = "pip install -r rmt_experiments/llm/requirements.txt"
        raise MissingDataError(f"{package} is not installed", remedy) from error


def _run(experiment: Experiment, finished: Sequence[Result], executor: Executor | None) -> Iterator[Result]:
    """The settings that are not finished, in order of completion."""
    done = {number for number, _, _ in finished}
    missing = [(experiment, number) for number in range(len(experiment.settings)) if number not in done]
    return (result for _, result in in_order_of_completion(_timed, missing, executor))


def _timed(experiment: Experiment, number: int) -> Result:
    start = time.perf_counter()
    rows = experiment.rows(number)
    return number, rows, time.perf_counter() - start


def _column(values: Sequence[str]) -> np.ndarray:
    """Numbers where all values are numbers, else text."""
    try:
        return np.array(values, dtype=float)
    except ValueError:
        return np.array(values)
