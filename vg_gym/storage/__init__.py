"""Storage on disk and in memory: atomic files, sharded arrays, caches, built-in weights."""
