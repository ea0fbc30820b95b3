"""The number of threads that the linear algebra of NumPy, SciPy and scikit-learn may use."""

from threadpoolctl import threadpool_limits

one_thread = threadpool_limits.wrap(limits=1)
"""For functions on small matrices, which gain nothing from threads: when other work shares the
cores, threads wait for each other much longer than the computation itself takes."""
