"""Settle: outcomes and the input offset become durable at once, or not at all, in Kafka or in Postgres.

The loop runs it.
"""
