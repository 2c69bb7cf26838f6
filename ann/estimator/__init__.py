"""A classifier and a regressor with scikit-learn's interface, for its pipelines, grid searches and
cross-validation, also on a GPU. They need the extra ``sklearn``, so import them explicitly:
``import ann.estimator``.
"""

from ann.errors import require

# Before the imports below, whose errors would not say what to install
require("sklearn.base", "sklearn", "ann.estimator needs scikit-learn")

from ann.estimator.classifier import MLPClassifier  # noqa: E402
from ann.estimator.regressor import MLPRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor"]
