"""The same numbers on a Dask cluster as here, whatever becomes of its workers."""

import csv
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from rmt_experiments import __main__ as command
from rmt_experiments import runner
from rmt_experiments.cluster import ClusterError, _Checked, dask_executor
from rmt_lib import Mixture, Source, simulate, simulate_isotropic
from rmt_lib.execution import in_order_of_completion

distributed = pytest.importorskip("distributed", reason='needs Dask: pip install "rmt_lib[cluster]"')

EXPERIMENT = dataclasses.replace(runner.load("figure_4"), trials=20)
ROWS = len(EXPERIMENT.settings)
CHUNKS = 64
SETTING = dict(p=100, n=200, m=300, n_hat=200, mu=1.0, gamma=0.1, epsilon=0.2, generator="held_out", seed=2410)
TRIALS = 6 * CHUNKS
AFTER = 4  # calls that are finished when something happens to a worker


@contextmanager
def started(folder, kind, *arguments, path=""):
    """A process of `dask scheduler` or `dask worker`; they find one another through a file."""
    environment = {**os.environ, "PYTHONPATH": str(path), "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "dask", kind, "--host", "127.0.0.1", "--no-dashboard", *arguments]
    command += ["--scheduler-file", str(folder / "scheduler.json")]
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


class Cluster:
    """A scheduler and worker processes of one thread each; with a nanny, one that died is started again."""

    def __init__(self, stack, folder, *, nanny, workers=2):
        self.stack, self.folder, self.nanny, self.workers = stack, folder, nanny, workers
        self.scheduler = stack.enter_context(started(folder, "scheduler", "--port", "0"))
        for _ in range(workers):
            self.add()
        while not (folder / "scheduler.json").exists():
            time.sleep(0.02)
        self.client = distributed.Client(scheduler_file=str(folder / "scheduler.json"), set_as_default=False)
        stack.enter_context(self.client)
        self.address = self.client.scheduler.address

    def add(self):
        self.stack.enter_context(
            started(self.folder, "worker", "--nthreads", "1", *[] if self.nanny else ["--no-nanny"])
        )

    def complete(self):
        """This cluster, with all of its workers."""
        if not self.nanny and hasattr(self, "used"):
            self.add()
        self.used = True
        self.client.wait_for_workers(self.workers, timeout=60)
        return self

    def pids(self):
        """Of the workers, by address."""
        return self.client.run(os.getpid, on_error="ignore")


def module_cluster(nanny):
    @pytest.fixture(scope="module")
    def fixture(tmp_path_factory):
        with ExitStack() as stack:
            yield Cluster(stack, tmp_path_factory.mktemp("cluster"), nanny=nanny)

    return fixture


with_nanny, without_nanny = module_cluster(True), module_cluster(False)


@pytest.fixture
def cluster(with_nanny):
    return with_nanny.complete()


@pytest.fixture(params=["with_nanny", "without_nanny"])
def either(request):
    return request.getfixturevalue(request.param).complete()


class Noted(Executor):
    """Keeps the futures, to see how many have finished."""

    def __init__(self, executor):
        self.executor, self.futures = executor, []

    def submit(self, function, /, *arguments):
        self.futures.append(self.executor.submit(function, *arguments))
        return self.futures[-1]

    def finished(self):
        return sum(future.done() for future in self.futures)


class Once:
    """Does something when `finished` says that AFTER calls are, and notes how many were afterwards."""

    def __init__(self, finished, action):
        self.finished, self.over = 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, args=(finished, action))

    def watch(self, finished, action):
        while finished() < AFTER:
            if self.over.wait(0.002):
                return
        action()
        self.finished = finished()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def killing(cluster, finished):
    """Kills a worker that has work."""
    pids = cluster.pids()

    def kill():
        address = next(address for address, tasks in cluster.client.processing().items() if tasks)
        os.kill(pids[address], signal.SIGKILL)

    return Once(finished, kill), set(pids.values())


def are_one_less(pids, cluster):
    return len(pids) == 2 and len(pids & set(cluster.pids().values())) == 1


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where `python -m rmt_experiments figure_4` writes, of a shorter run."""
    monkeypatch.setattr(runner, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "names", lambda: ["figure_4"])
    monkeypatch.setattr(command, "load", lambda name: EXPERIMENT)
    return tmp_path


def stored(folder, *arguments):
    """The result that a command has written, without the time it took."""
    command.main(["figure_4", *arguments])
    text = (folder / "figure_4.csv").read_text("utf8")
    assert not (folder / "figure_4.partial").exists()
    return [line for line in text.splitlines() if not line.startswith("# seconds")]


def rows_finished(folder):
    path = folder / "figure_4.partial"
    return path.read_text("utf8").count("\n") - 1 if path.exists() else 0


def assert_identical(first, second):
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.variance, second.variance)


def test_simulations_are_the_same_on_a_cluster(cluster):
    target = Mixture(np.full(30, 0.2))
    covariance = np.diag(np.linspace(0.5, 2, 30)) + 0.1
    general = dict(gamma=0.1, trials=70, seed=2411)
    sources = [Source(target, 40), Source(Mixture(target.mean, covariance), 90, epsilon=0.3, phi=0.7, rho=0.4)]
    isotropic = dict(SETTING, trials=70)
    for executor in (cluster.client.get_executor(), cluster.client.get_executor(pure=False)):
        assert_identical(simulate_isotropic(**isotropic, executor=executor), simulate_isotropic(**isotropic))
        assert_identical(simulate(target, sources, **general, executor=executor), simulate(target, sources, **general))


def test_a_simulation_survives_its_worker(either):
    serial = simulate_isotropic(**SETTING, trials=TRIALS)
    executor = Noted(either.client.get_executor())
    killed, pids = killing(either, executor.finished)
    with killed:
        survived = simulate_isotropic(**SETTING, trials=TRIALS, executor=executor)
    assert AFTER <= killed.finished < CHUNKS == len(executor.futures)
    assert are_one_less(pids, either)
    assert survived.mean.size == TRIALS
    assert_identical(survived, serial)


def test_an_experiment_survives_its_worker(either, folder):
    serial = stored(folder)
    assert stored(folder, "--scheduler", either.address) == serial
    killed, pids = killing(either, lambda: rows_finished(folder))
    with killed:
        assert stored(folder, "--scheduler", either.address) == serial
    assert AFTER <= killed.finished < ROWS
    assert are_one_less(pids, either)


def test_an_interrupted_experiment_goes_on_where_it_was(cluster, folder, monkeypatch):
    serial = stored(folder)

    def interrupted(*arguments):
        with closing(in_order_of_completion(*arguments)) as results:
            yield from islice(results, AFTER)
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "in_order_of_completion", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.main(["figure_4", "--scheduler", cluster.address])
    assert rows_finished(folder) == AFTER < ROWS
    asked = []
    monkeypatch.setattr(runner, "in_order_of_completion", lambda *a: asked.extend(a[1]) or in_order_of_completion(*a))
    assert stored(folder, "--scheduler", cluster.address) == serial
    assert len(asked) == ROWS - AFTER


def test_a_lost_scheduler_is_named_and_what_was_finished_kept(tmp_path, folder, capsys):
    with ExitStack() as stack:
        cluster = Cluster(stack, tmp_path, nanny=False, workers=1).complete()
        with Once(lambda: rows_finished(folder), cluster.scheduler.kill), pytest.raises(SystemExit):
            command.main(["figure_4", "--scheduler", cluster.address])
    assert f"lost the scheduler at {cluster.address}" in capsys.readouterr().err
    assert AFTER <= rows_finished(folder) < ROWS


def dies_at_three(setting, trials, seed):
    if setting["number"] == 3 and not os.path.exists(setting["file"]):
        open(setting["file"], "w").close()
        os._exit(1)
    return {"value": np.random.default_rng(seed).standard_normal()}


def test_a_pool_that_lost_a_worker_can_go_on(folder):
    settings = [{"number": i, "file": str(folder / "died")} for i in range(6)]
    experiment = runner.Experiment("figure_4", 2410, 1, settings, dies_at_three)
    with ProcessPoolExecutor(1) as pool, pytest.raises(BrokenProcessPool):
        runner.store(experiment, executor=pool)
    assert (folder / "figure_4.partial").exists()
    runner.store(experiment)
    assert len(runner.read("figure_4")) == 6


def test_calls_are_made_each_and_alone_and_quietly(cluster):
    with dask_executor(cluster.address) as executor:
        assert len({value for _, value in in_order_of_completion(time.time_ns, [()] * 4, executor)}) == 4
        assert executor.submit(os.getenv, "TQDM_DISABLE").result() == "1"
        libraries = executor.submit(threadpool_info).result()
    assert {library["num_threads"] for library in libraries if library["user_api"] == "blas"} == {1}


def test_failures_in_workers_reach_the_caller(cluster):
    setting = dict(p=50, n=3, m=4, mu=1e6, gamma=1e-10, weight=1e8, trials=20, seed=0)
    with dask_executor(cluster.address) as executor, pytest.raises(ValueError, match="gamma must be large enough"):
        simulate_isotropic(**setting, executor=executor)


OTHER = {
    "rmt_lib, none": ("rmt_lib", "raise ModuleNotFoundError('No rmt_lib')", "ModuleNotFoundError.*No rmt_lib"),
    "rmt_experiments, other": ("rmt_experiments", "# another version\n", r"rmt_experiments \w{8} instead of \w{8}"),
}


@pytest.mark.parametrize("package, code, message", OTHER.values(), ids=OTHER)
def test_a_worker_with_other_software_is_named(cluster, folder, capsys, tmp_path, package, code, message):
    (tmp_path / "path" / package).mkdir(parents=True)
    (tmp_path / "path" / package / "__init__.py").write_text(code)
    before = set(cluster.pids())
    arguments = ("--no-nanny", "--nthreads", "1")
    with started(cluster.folder, "worker", *arguments, path=tmp_path / "path"):
        cluster.client.wait_for_workers(3, timeout=60)
        (other,) = set(cluster.client.scheduler_info(n_workers=-1)["workers"]) - before
        with pytest.raises(SystemExit):
            command.main(["figure_4", "--scheduler", cluster.address])
        error = capsys.readouterr().err
        assert re.search(f"{other}: {message}", error) and 'pip install "rmt_lib[cluster]"' in error
        assert not any(address in error for address in before)
        if package == "rmt_experiments":
            # One that joins later is refused its calls.
            late = _Checked(cluster.client.get_executor(workers=[other], pure=False))
            with pytest.raises(ClusterError, match="has other software"):
                late.submit(abs, 1).result()
    cluster.client.wait_for_workers(2)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "http://127.0.0.1:1"])
def test_an_address_without_a_scheduler_is_refused(address, capsys):
    with pytest.raises(SystemExit):
        command.main(["--scheduler", address])
    assert f"no Dask scheduler answers at '{address}'" in capsys.readouterr().err


def test_missing_dask_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SystemExit):
        command.main(["--scheduler", "tcp://127.0.0.1:8786"])
    assert 'pip install "rmt_lib[cluster]"' in capsys.readouterr().err


def test_workers_and_scheduler_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        command.main(["--workers", "2", "--scheduler", "tcp://127.0.0.1:8786"])
    assert "not allowed with" in capsys.readouterr().err


def test_the_page_shows_the_measured_speed_up():
    chapters = Path(__file__).parent.parent / "chapters"
    page = (chapters / "cluster.md").read_text("utf8")
    for name in ("cluster_speedup.csv", "cluster_machine.csv"):
        assert f":file: {name}" in page
        with (chapters / name).open(encoding="utf8", newline="") as file:
            header, *rows = csv.reader(file)
        assert rows and all(len(row) == len(header) and all(row) for row in rows)
        if name == "cluster_speedup.csv":
            places = len({place for _, place, *_ in rows})
            assert places == 3 and len(rows) % places == 0
            for i, (_, place, seconds, fastest, slowest, ratio) in enumerate(rows):
                serial = rows[i - i % places]
                assert ("one process" in place) == (i % places == 0)
                assert 0 < float(fastest) <= float(seconds) <= float(slowest)
                assert float(ratio) == pytest.approx(float(serial[2]) / float(seconds), rel=0.02)
