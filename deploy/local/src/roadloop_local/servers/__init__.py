"""The four servers of a stack: the files, the program, the check of health and what is made in each once.

Imports a stack's layout, ports and binaries, never its services. Run by `stack` and asked by `health`.
"""
