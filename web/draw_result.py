"""Draw the picture of the README, `web/theme/result.svg`: theory and simulation of one question, three verifiers."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from rmt_lib import figures, predict_isotropic, simulate_isotropic

SETTING = dict(p=200, n=400, mu=1.0, gamma=1.0, epsilon=0.3, n_hat=2000, generator="held_out")
VERIFIERS = {"none": ("no verifier", 1.0), "weak": ("weak verifier", 0.5), "oracle": ("oracle verifier", 0.0)}
POINTS = np.array([100, 400, 1600, 3600, 7600])
TRIALS, SEED = 200, 2410


def draw() -> Figure:
    """Accuracy against the share of synthetic data; simulated points with bars of two standard errors."""
    figure = Figure()
    ax = figure.subplots()
    share = np.linspace(0, 0.97, 80)
    real = predict_isotropic(**SETTING, m=0).accuracy
    figures.theory_line(ax, [0, 1], [real, real], meaning="real", label="real data alone")
    for offset, (verifier, (label, rho)) in enumerate(VERIFIERS.items()):
        curve = predict_isotropic(**SETTING, m=SETTING["n"] * share / (1 - share), rho=rho).accuracy
        figures.theory_line(ax, share, curve, meaning=verifier, label=label)
        seeds = np.random.SeedSequence(SEED + offset).spawn(POINTS.size)
        runs = [
            simulate_isotropic(**SETTING, m=m, rho=rho, trials=TRIALS, seed=seed).estimate("accuracy")
            for m, seed in zip(POINTS, seeds, strict=True)
        ]
        figures.simulation_points(ax, POINTS / (SETTING["n"] + POINTS), *zip(*runs, strict=True), meaning=verifier)
    ax.set(xlabel="share of synthetic data  m / (n + m)", ylabel="accuracy", xlim=(0, 1))
    ax.legend(loc="upper left")
    return figure


if __name__ == "__main__":
    with mpl.rc_context(dict(figures.STYLE)):
        draw().savefig(Path(__file__).parent / "theme" / "result.svg", metadata={"Date": None})
