"""Keep rate and funnel per slice, as tables that are rebuilt from topics, and the budgets that follow from scores.

Run as `python -m screen.view`.
"""
