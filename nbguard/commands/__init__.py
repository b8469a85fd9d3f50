"""What the command line and the magics do, one module for each kind of command.

from nbguard.commands.actions import approve, scan_target
"""
