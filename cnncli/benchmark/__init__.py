"""How fast networks, layers and convolutions run here, how far from the machine's limits, and against other libraries.

Every contestant, cnncli too, is a worker process of its own that answers "make this" and "run a round of that"
(`peers/serving.py`); `rounds` lets them take turns, so that what a shared machine does to one it does to all.
"""
