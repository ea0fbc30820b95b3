"""Settings of the whole test run."""

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
