"""One module for each family of loaders, with `LOADERS`: a tuple of entries.

from nbguard.hooks.loaders.entry import Loader

LOADERS = (Loader(name="numpy.load", module="numpy.lib._npyio_impl", ...),)

They are read at every `%load_ext nbguard`: nothing heavy is imported here.
"""
