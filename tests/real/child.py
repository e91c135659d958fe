"""A process that asks prices of a real model, or goes on asking, so that it can be killed.

Usage: child.py STORE URL STEPS
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from real.asking import once, prices

from surefoot.storage.store import Store

if __name__ == "__main__":
    os.environ.pop("SUREFOOT_STORE", None)
    with Store.open(Path(sys.argv[1])) as store:
        once(store, sys.argv[2], prices(int(sys.argv[3])), concurrency=4).run("prices")
