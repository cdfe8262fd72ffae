"""Queries, one module a noun. What a client can reach takes `owner` and sees only theirs."""
