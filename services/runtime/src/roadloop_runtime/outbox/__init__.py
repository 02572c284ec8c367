"""The outbox: rows committed with what caused them, published later, each once and in order. Run by each service beside its loop."""
