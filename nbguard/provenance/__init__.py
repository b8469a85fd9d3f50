"""Who published what is about to be loaded, and whether the name is the one that was meant.

assess("meta-Ilama/Llama-3.1-8B").risk      # "critical"
"""

from __future__ import annotations

from nbguard.provenance.judged import did_you_mean, with_name
from nbguard.provenance.names import NameRisk, Resemblance, assess, resembles
from nbguard.provenance.published import with_publisher

__all__ = ["NameRisk", "Resemblance", "assess", "did_you_mean", "resembles", "with_name", "with_publisher"]
