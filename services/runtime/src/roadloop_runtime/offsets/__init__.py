"""Where groups have read to, wherever that is kept, and how an operator moves it on purpose.

May import the clients and the settlements; the commands `roadloop offsets` run it.
"""
