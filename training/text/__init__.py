"""Texts as vectors: encoders and their cache, principal components and whitening, topics, matching."""
