"""S3 objects, Postgres connections and migrations: every call with a time limit, every outage as `Transient`.

Imports the outcomes and schemas alone; services and settlements use it.
"""
