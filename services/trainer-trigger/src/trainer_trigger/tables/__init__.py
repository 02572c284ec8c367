"""Labels, specs, runs, releases and what serves, in Postgres: one function is one statement or one transaction.

Everything else here may use it.
"""
