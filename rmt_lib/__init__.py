"""Random matrix theory of learning from real and synthetic data: exact predictions beside exact simulations.

What is exported here is the core: a data model, the theorem, its simulation. Questions asked of it are modules of
`rmt_lib.topics`, each named after its chapter; in the order of the book:

* `synthetic_only`, `when_it_helps`, `released_code`: the paper;
* `weights`, `deliberate_practice`, `generations`, `unequal_classes`, `scaling_laws`, `many_classes`: beyond it.

`rmt_lib.figures` draws and `rmt_lib.datasets` loads data; the core knows neither.

Where a quantity has a function for any covariances and one for the identity, the bare name is the general function and
``_isotropic`` marks the special one. A docstring that says "(ours)" means that the formula was derived for this project
and, as far as we looked (abstracts and summaries, mostly), is not published in this form; what it rests on is cited in
the chapter.
"""

from rmt_lib.fitted import Population, predict_fitted
from rmt_lib.isotropic import predict_isotropic
from rmt_lib.model import Mixture, Source
from rmt_lib.results import ConvergenceError, Estimate, Prediction, Simulation
from rmt_lib.simulation import simulate, simulate_isotropic
from rmt_lib.theory import predict

__all__ = [
    "ConvergenceError",
    "Estimate",
    "Mixture",
    "Population",
    "Prediction",
    "Simulation",
    "Source",
    "predict",
    "predict_fitted",
    "predict_isotropic",
    "simulate",
    "simulate_isotropic",
]
