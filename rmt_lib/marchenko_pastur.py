r"""The Marchenko-Pastur law: the limiting spectrum of C_hat = (1/n_hat) sum z z', z ~ N(0, I_p), at c = p / n_hat."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rmt_lib import checks
from rmt_lib.checks import Array


def support(c: float) -> tuple[float, float]:
    r"""Edges :math:`(1 - \sqrt c)^2, (1 + \sqrt c)^2` of the continuous part; c = p / n_hat > 0."""
    c = checks.number("c", c, low=0, open_low=True)
    return (1 - np.sqrt(c)) ** 2, (1 + np.sqrt(c)) ** 2


def atom(c: float) -> float:
    """Mass max(0, 1 - 1/c) at 0: C_hat has rank n_hat when p > n_hat."""
    c = checks.number("c", c, low=0, open_low=True)
    return max(0.0, 1 - 1 / c)


def density(x: Any, c: float) -> Array:
    r"""Density :math:`\sqrt{(x - x_-)(x_+ - x)} / (2 \pi c x)` of the continuous part; it integrates to 1 - atom(c)."""
    low, high = support(c)
    x = checks.array("x", x)
    inside = (x > low) & (x < high)
    safe = np.where(inside, x, (low + high) / 2)
    return np.where(inside, np.sqrt(np.maximum((safe - low) * (high - safe), 0)) / (2 * np.pi * c * safe), 0.0)


def trace(a: Any, k: Any, c: Any) -> Array:
    r"""G = lim (1/p) tr (a I + k C_hat)^{-1}, the positive root of :math:`G (a + k / (1 + k c G)) = 1`.

    `a` > 0, `k` >= 0 and `c` >= 0 broadcast. In terms of the Stieltjes transform s(z) = lim (1/p) tr (C_hat - z)^{-1},
    G = s(-a / k) / k.
    """
    a = checks.array("a", a, low=0, open_low=True)
    k = checks.array("k", k, low=0)
    c = checks.array("c", c, low=0)
    linear = a + k * (1 - c)
    root = np.sqrt(linear**2 + 4 * a * k * c)
    # The form of the root in which nothing cancels, on either side of a + k = k c.
    return np.where(linear > 0, 2 / (linear + root), (root - linear) / np.where(a * k * c > 0, 2 * a * k * c, 1.0))


class Traces(NamedTuple):
    """Normalised traces of products of R = (a I + k C_hat)^{-1} and C_hat."""

    r_r: Array
    """(1/p) tr R^2."""
    r_cr: Array
    """(1/p) tr R C_hat R."""
    cr_cr: Array
    """(1/p) tr C_hat R C_hat R."""


def product_traces(a: Array, k: Array, c: Array, trace: Array) -> Traces:
    r"""Second-order traces given G = `trace(a, k, c)`: minus the derivatives of (1/p) tr R and (1/p) tr C_hat R.

    With D = 1 + k c G, differentiating G (a + k / D) = 1 gives dG = -(da + dk / D^2) / E for
    E = (1/D + a G (1 - 1/D)) / G^2, and (1/p) tr C_hat R = G / D. All terms are positive.
    """
    d = 1 + k * c * trace
    e = (1 / d + a * trace * (k * c * trace / d)) / trace**2
    r_cr = 1 / (d**2 * e)
    return Traces(1 / e, r_cr, (r_cr + c * trace**2) / d**2)


def shrinkage(eta: Any, gamma: Any) -> tuple[Array, Array]:
    r"""How much ridge shrinks the classifier, C = I: sigma and :math:`\sqrt D = (1 - \eta \sigma^2) / \sigma`.

    sigma is the root in (0, 1) of :math:`\gamma \sigma = (1 - \sigma)(1 - \eta \sigma)`, eta = p / n the features for
    each sample and gamma > 0 the penalty. They broadcast, and are taken as checked.
    """
    root = np.sqrt((1 - eta) ** 2 + 2 * gamma * (1 + eta) + gamma**2)
    return 2 / (1 + eta + gamma + root), root
