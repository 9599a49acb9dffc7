"""Random matrix theory of learning from real and synthetic data: exact predictions beside exact simulations."""

from rmt_lib.isotropic import predict_isotropic
from rmt_lib.model import Mixture, Source
from rmt_lib.results import ConvergenceError, Estimate, Prediction, Simulation
from rmt_lib.simulation import simulate, simulate_isotropic
from rmt_lib.theory import predict

__all__ = [
    "ConvergenceError",
    "Estimate",
    "Mixture",
    "Prediction",
    "Simulation",
    "Source",
    "predict",
    "predict_isotropic",
    "simulate",
    "simulate_isotropic",
]
