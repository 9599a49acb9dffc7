r"""The Marchenko-Pastur law: the limiting spectrum of C_hat = (1/n_hat) sum z z', z ~ N(0, I_p), at c = p / n_hat."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rmt_lib import checks
from rmt_lib.checks import Array


def support(c: float) -> tuple[float, float]:
    r"""Edges :math:`(1 - \sqrt c)^2, (1 + \sqrt c)^2` of the continuous part.

    Parameters
    ----------
    c : float
        p / n_hat, > 0.

    Returns
    -------
    tuple of float
        Lower and upper edge.

    Raises
    ------
    ValueError, TypeError
        A ratio that is not a number > 0.

    Examples
    --------
    >>> from rmt_lib.marchenko_pastur import support
    >>> low, high = support(0.25)
    >>> print(round(low, 4), round(high, 4))
    0.25 2.25
    """
    c = checks.number("c", c, low=0, open_low=True)
    return (1 - np.sqrt(c)) ** 2, (1 + np.sqrt(c)) ** 2


def atom(c: float) -> float:
    """Mass max(0, 1 - 1/c) at 0: C_hat has rank n_hat when p > n_hat.

    Parameters
    ----------
    c : float
        p / n_hat, > 0.

    Returns
    -------
    float
        The share of eigenvalues that are 0.

    Raises
    ------
    ValueError, TypeError
        A ratio that is not a number > 0.

    Examples
    --------
    >>> from rmt_lib.marchenko_pastur import atom
    >>> print(atom(0.5), atom(4.0))
    0.0 0.75
    """
    c = checks.number("c", c, low=0, open_low=True)
    return max(0.0, 1 - 1 / c)


def density(x: Any, c: float) -> Array:
    r"""Density :math:`\sqrt{(x - x_-)(x_+ - x)} / (2 \pi c x)` of the continuous part; it integrates to 1 - atom(c).

    Parameters
    ----------
    x : array_like
        Where to evaluate it.
    c : float
        p / n_hat, > 0.

    Returns
    -------
    array
        Of the shape of `x`; 0 outside the support.

    Raises
    ------
    ValueError, TypeError
        A ratio that is not a number > 0, or an `x` that is not finite.

    Examples
    --------
    >>> from rmt_lib.marchenko_pastur import density
    >>> density([0.1, 1.0, 2.0], 0.25).round(4).tolist()
    [0.0, 0.6164, 0.2105]
    """
    low, high = support(c)
    x = checks.array("x", x)
    inside = (x > low) & (x < high)
    safe = np.where(inside, x, (low + high) / 2)
    return np.where(inside, np.sqrt(np.maximum((safe - low) * (high - safe), 0)) / (2 * np.pi * c * safe), 0.0)


def trace(a: Any, k: Any, c: Any) -> Array:
    r"""G = lim (1/p) tr (a I + k C_hat)^{-1}, the positive root of :math:`G (a + k / (1 + k c G)) = 1`.

    In terms of the Stieltjes transform s(z) = lim (1/p) tr (C_hat - z)^{-1}, G = s(-a / k) / k where k > 0.

    Parameters
    ----------
    a, k : array_like
        Multiples of the identity, > 0, and of C_hat, >= 0.
    c : array_like
        p / n_hat, >= 0; 0 for the identity in place of C_hat.

    Returns
    -------
    array
        Of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        An argument that is not a number, or outside its range; shapes that do not broadcast.

    Examples
    --------
    >>> from rmt_lib.marchenko_pastur import trace
    >>> trace(0.5, 1.0, [0.0, 0.25, 4.0]).round(4).tolist()
    [0.6667, 0.7446, 1.5687]
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


def product_traces(a: Any, k: Any, c: Any, trace: Any) -> Traces:
    r"""Second-order traces given G = `trace(a, k, c)`: minus the derivatives of (1/p) tr R and (1/p) tr C_hat R.

    With D = 1 + k c G, differentiating G (a + k / D) = 1 gives dG = -(da + dk / D^2) / E for
    E = (1/D + a G (1 - 1/D)) / G^2, and (1/p) tr C_hat R = G / D. All terms are positive.

    Parameters
    ----------
    a, k, c : float or array
        As in `trace`; they broadcast, and are taken as checked.
    trace : float or array
        The trace G.

    Returns
    -------
    Traces
        Of the broadcast shape.

    Raises
    ------
    ValueError
        Shapes that do not broadcast.

    Examples
    --------
    >>> from rmt_lib.marchenko_pastur import product_traces, trace
    >>> products = product_traces(0.5, 1.0, 0.25, trace(0.5, 1.0, 0.25))
    >>> print(f"{products.r_r:.4f} {products.r_cr:.4f} {products.cr_cr:.4f}")
    0.6150 0.4371 0.4092
    """
    d = 1 + k * c * trace
    e = (1 / d + a * trace * (k * c * trace / d)) / trace**2
    r_cr = 1 / (d**2 * e)
    return Traces(1 / e, r_cr, (r_cr + c * trace**2) / d**2)


class Shrinkage(NamedTuple):
    """How much ridge shrinks the classifier, C = I; see `shrinkage`."""

    sigma: Array
    lost: Array
    """1 - sigma, without the subtraction."""
    root: Array
    r""":math:`\sqrt D = (1 - \eta \sigma^2) / \sigma`."""


def shrinkage(eta: Any, gamma: Any) -> Shrinkage:
    r"""How much ridge shrinks the classifier, C = I: sigma, 1 - sigma and :math:`\sqrt D`.

    sigma is the root in (0, 1) of :math:`\gamma \sigma = (1 - \sigma)(1 - \eta \sigma)`.

    Parameters
    ----------
    eta, gamma : float or array
        Features for each sample p / n, and the penalty > 0; they broadcast, and are taken as checked.

    Returns
    -------
    Shrinkage
        Of the broadcast shape.

    Raises
    ------
    ValueError
        Shapes that do not broadcast.

    Examples
    --------
    >>> from rmt_lib.marchenko_pastur import shrinkage
    >>> sigma, lost, root = shrinkage(0.5, 0.1)
    >>> print(f"{sigma:.4f} {lost:.4f} {root:.4f}")
    0.8517 0.1483 0.7483
    """
    more = 2 * gamma * (1 + eta) + gamma**2
    root = np.sqrt((1 - eta) ** 2 + more)
    # root - (1 - eta), which cancels where eta < 1.
    above = np.where(eta < 1, more / (root + np.abs(1 - eta)), root - (1 - eta))
    return Shrinkage(2 / (1 + eta + gamma + root), (above + gamma) / (1 + eta + gamma + root), root)
