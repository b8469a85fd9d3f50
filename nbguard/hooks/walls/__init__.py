"""The three walls that hold a load to its contract: bytes, then names, then effects.

    from nbguard.hooks.walls import audit, rehearsal, scope

Nothing in here believes the scanner's verdict. A program must be one of those that were scanned, byte for byte; every
name, what is done with it and with which arguments is checked again against the rules before a real machine sees the
program; and while the real machine runs, audit events that no contract holds stop it.
"""
