"""How experiments are run, stored and read; that the stored results are those of their scripts."""

import itertools
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from rmt_experiments import __main__ as command
from rmt_experiments import runner

KNOWN = runner.names()


def measure(setting, trials, seed):
    if setting["fails"] == "yes":
        raise RuntimeError("interrupted")
    return {"value": setting["scale"] * np.random.default_rng(seed).standard_normal(trials).mean()}


def experiment(count=5, fails=None):
    settings = [{"scale": 1.5**i, "fails": "yes" if i == fails else "no"} for i in range(count)]
    return runner.Experiment("made_up", 2410, 10, settings, measure)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "FOLDER", tmp_path)
    return tmp_path


def numbers(path):
    """A stored result without the time it took."""
    return [line for line in path.read_text("utf8").splitlines() if not line.startswith("# seconds")]


def test_a_result_can_be_read_back(folder):
    made = experiment()
    runner.store(made)
    table = runner.read("made_up")
    assert len(table) == 5
    expected = [made.rows(i)[0]["value"] for i in range(5)]
    np.testing.assert_allclose(table["value"], expected, rtol=1e-11)
    assert table["fails"].tolist() == ["no"] * 5
    assert table.where(scale=1.5)["value"] == pytest.approx(expected[1])
    assert table.provenance["seed"] == "2410" and table.provenance["script"] == "rmt_experiments/made_up.py"
    with pytest.raises(ValueError, match="no row has {'scale': 7}"):
        table.where(scale=7)


def test_one_setting_can_give_several_rows(folder):
    def curve(setting, trials, seed):
        return [{"m": m, "value": setting["scale"] * m} for m in (1, 2, 3)]

    runner.store(runner.Experiment("made_up", 2410, 10, experiment(2).settings, curve, packages=("tqdm",)))
    table = runner.read("made_up")
    np.testing.assert_array_equal(table["value"], [1, 2, 3, 1.5, 3, 4.5])
    np.testing.assert_array_equal(table.where(m=2)["scale"], [1, 1.5])
    assert ", tqdm 4." in table.provenance["versions"]


def test_workers_do_not_change_the_result(folder):
    serial = numbers(runner.store(experiment()))
    with ProcessPoolExecutor(2) as executor:
        assert numbers(runner.store(experiment(), executor=executor)) == serial


def test_an_interrupted_run_goes_on_where_it_was(folder, monkeypatch):
    whole = numbers(runner.store(experiment()))
    calls = itertools.count()

    def interrupted(setting, trials, seed):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return measure(setting, trials, seed)

    cut = runner.Experiment("made_up", 2410, 10, experiment().settings, interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.store(cut)
    with (folder / "made_up.partial").open("a") as file:
        file.write('[4, [{"scale": 5.')  # as a killed process would leave it
    assert numbers(runner.store(cut)) == whole
    assert next(calls) == 6, "3 rows, the one that failed, and the 2 that were missing"
    assert not (folder / "made_up.partial").exists()


def test_what_another_experiment_left_is_not_used(folder):
    with pytest.raises(RuntimeError, match="interrupted"):
        runner.store(experiment(fails=3))
    changed = runner.Experiment("made_up", 2411, 10, experiment().settings, measure)
    runner.store(changed)
    np.testing.assert_allclose(runner.read("made_up")["value"][0], changed.rows(0)[0]["value"], rtol=1e-11)


def test_a_missing_result_says_how_to_make_it(folder):
    with pytest.raises(FileNotFoundError, match="run python -m rmt_experiments made_up"):
        runner.read("made_up")


@pytest.mark.parametrize("arguments", [["unknown"], ["--workers", "0"]])
def test_a_wrong_command_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert "must be" in capsys.readouterr().err


@pytest.mark.parametrize("name", KNOWN)
def test_a_stored_result_is_that_of_its_script(name):
    table, script = runner.read(name), runner.load(name)
    assert script.name == name
    assert table.provenance["seed"] == str(script.seed) and table.provenance["trials"] == str(script.trials)
    rows = 0
    for setting in script.settings:
        chosen = np.ones(len(table), dtype=bool)
        for key, value in setting.items():
            chosen &= (
                table[key] == value if isinstance(value, str) else np.isclose(table[key], value, rtol=1e-11, atol=0)
            )
        assert chosen.any(), setting
        rows += chosen.sum()
    assert rows >= len(table)
