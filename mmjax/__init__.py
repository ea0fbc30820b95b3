"""Multimodal fusion in JAX and Flax: every strategy verified, every comparison honest."""
