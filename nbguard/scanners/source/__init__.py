"""What Python source would do, told from its syntax tree; nothing of it is run.

    found = analyse(source)
    for act in found.acts:
        act.what, act.name, act.when, act.chain      # "runs a command", "os.system", "import", ("setup() line 4",)

Names are followed through imports, aliases, attributes, constant strings and the module's own functions, so that what
counts is what is called, never how it is spelled or what merely stands in a text.
"""

from nbguard.scanners.source.acts import Act, When
from nbguard.scanners.source.analysis import Analysis, analyse

__all__ = ["Act", "Analysis", "When", "analyse"]
