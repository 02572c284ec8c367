"""Judge history anew under another policy, with the code that decided it first.

The command of the same name runs it.
"""
