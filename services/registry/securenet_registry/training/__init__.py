"""Training: recipes, data, fitting, calibration, evaluation, and the worker process that runs them."""
