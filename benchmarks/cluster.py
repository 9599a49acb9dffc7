"""Speed-up by two worker processes, for the page on clusters: `python benchmarks/cluster.py` on an idle machine.

All workers are started beforehand: what is measured is the work and its distribution.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import itertools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

from distributed import LocalCluster
from threadpoolctl import threadpool_limits

from rmt_experiments import runner
from rmt_experiments.cluster import dask_executor
from rmt_lib import simulate_isotropic

CHAPTERS = Path(__file__).parent.parent / "chapters"
REPEATS = 3
WORKERS = 2
EXPERIMENT = dataclasses.replace(runner.load("figure_3"), trials=50)
SETTING = dict(
    p=400, n=800, m=4000, n_hat=800, mu=0.7, gamma=0.1, epsilon=0.3, phi=0.9, rho=0.4, trials=1000, seed=2410
)


def experiment(executor: Executor | None) -> list[str]:
    """The stored lines of a short run of `figure_3`, without the time it took."""
    lines = runner.store(EXPERIMENT, executor=executor).read_text("utf8").splitlines()
    return [line for line in lines if not line.startswith("# seconds")]


def simulation(executor: Executor | None) -> list[float]:
    return simulate_isotropic(**SETTING, executor=executor).mean.tolist()


WORK: dict[str, Callable[[Executor | None], list]] = {
    f"`rmt_experiments/figure_3.py`, {EXPERIMENT.trials} trials per setting": experiment,
    f"`simulate_isotropic`, p = {SETTING['p']}, {SETTING['trials']} trials": simulation,
}


def processor() -> str:
    """Its name where the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def measure() -> list[list[str]]:
    rows = []
    with (
        threadpool_limits(1, user_api="blas"),
        ProcessPoolExecutor(WORKERS, initializer=os.environ.setdefault, initargs=("TQDM_DISABLE", "1")) as pool,
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        dask_executor(cluster.scheduler_address) as dask,
    ):
        places = {"one process": None, f"`--workers {WORKERS}`": pool, f"`--scheduler`, {WORKERS} workers": dask}
        for what, work in WORK.items():
            expected = work(None)
            seconds: dict[str, list[float]] = {place: [] for place in places}
            for repeat, (place, executor) in itertools.product(range(REPEATS + 1), places.items()):
                start = time.perf_counter()
                found = work(executor)
                if repeat:  # in the first, the workers import what they need
                    seconds[place].append(time.perf_counter() - start)
                assert found == expected, f"{what} on {place} gave another result"
            medians = {place: statistics.median(times) for place, times in seconds.items()}
            for place, times in seconds.items():
                numbers = medians[place], min(times), max(times), medians["one process"] / medians[place]
                rows.append([what, place, *(f"{number:.2f}" for number in numbers)])
    return rows


def write(name: str, header: list[str], rows: list[list[str]]) -> None:
    with (CHAPTERS / name).open("w", encoding="utf8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main() -> None:
    os.environ.setdefault("TQDM_DISABLE", "1")
    with tempfile.TemporaryDirectory() as folder:
        runner.FOLDER = Path(folder)
        rows = measure()
    write("cluster_speedup.csv", ["Work", "Where", "Seconds (median)", "Fastest", "Slowest", "Speed-up"], rows)
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name)}" for name in ("numpy", "scipy", "distributed")]
    machine = [
        ["Machine", f"{os.cpu_count()} cores, {processor()}, {platform.system()}"],
        ["Versions", ", ".join(versions)],
        ["Measured", f"{datetime.date.today()}, {REPEATS} times each in turn, one BLAS thread per process"],
        ["Command", "`python benchmarks/cluster.py`"],
    ]
    write("cluster_machine.csv", ["Circumstance", "Value"], machine)


if __name__ == "__main__":
    main()
