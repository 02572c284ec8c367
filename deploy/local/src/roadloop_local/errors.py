"""What can go wrong with a stack, said in one line that ends with what to do."""


class StackError(Exception):
    """Tell the person at the keyboard what failed, where, and what to do next."""


class NotReadyError(Exception):
    """Say that a server does not answer yet; the waiting loop asks again."""
