"""How many threads the linear algebra of NumPy, SciPy and scikit-learn may use."""

from threadpoolctl import threadpool_limits

one_thread = threadpool_limits.wrap(limits=1)
"""For functions on small matrices: threads gain nothing there, and beside other work on the same
cores they wait for each other much longer than the work itself takes."""
