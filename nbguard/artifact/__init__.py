"""What is about to be loaded: requests, files, their digests, and open handles on the very bytes."""

from nbguard.artifact.model import Artifact, ArtifactFile, LoadRequest

__all__ = ["Artifact", "ArtifactFile", "LoadRequest"]
