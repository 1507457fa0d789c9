"""Blocks of the event loop: how many are named by the right line, how many by a wrong one."""
