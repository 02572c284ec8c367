"""The outbox: rows committed with what caused them, published later, each once and in order.

Each service that writes to Postgres runs its publisher beside its loop.
"""
