"""``python -m nncore.bench`` is ``nncore bench``."""

from __future__ import annotations

from nncore.bench.command import main

if __name__ == "__main__":
    raise SystemExit(main(program="python -m nncore.bench"))
