"""Random inputs of the kinds that come from outside: ``PYTHONPATH=tests python -m fuzz``, or ``make fuzz``."""
