"""The bench: training steps of nncore against NumPy, and against other libraries where they are installed.

``nncore bench``, or ``python -m nncore.bench``, is the command. ``import nncore`` does not import this package, and of
its modules those that run in the peers' processes do not import nncore's core (`runner` says why).
"""
