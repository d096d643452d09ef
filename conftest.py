"""nbval: what is compared when a stored notebook is run again. Verdicts and alternative texts are, as plain text."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers and the kernels that they start share the processor: two threads each would wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
collect_ignore_glob = [".venv/*", "build/*"]
# Those of the hunts are run by tests/notebooks/test_hunts.py, in one process: six kernels less.
collect_ignore_glob += ["notebooks/hunts/solutions/*"]
WIDGET = "application/vnd.jupyter.widget-view+json"


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):  # a notebook
        collector.skip_compare += ("text/html", "text/markdown", "image/png", "image/svg+xml", WIDGET)
