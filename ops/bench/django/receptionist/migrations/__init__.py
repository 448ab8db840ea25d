"""With BENCH_COLUMN set there is one migration more."""

import os

if os.environ.get("BENCH_COLUMN"):
    __path__.append(os.path.join(os.path.dirname(__file__), "..", "column"))
