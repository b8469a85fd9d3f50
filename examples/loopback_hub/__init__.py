"""A small Hugging Face Hub on this machine, with honest and hostile repositories to try nbguard on.

python -m loopback_hub --port 8765

with loopback_hub.Hub(Path("hub")) as hub:
    loopback_hub.offer(hub.store, "demo/tiny-bert")
"""

from loopback_hub.catalogue import REPOSITORIES, offer
from loopback_hub.process import Hub, demo, environment
from loopback_hub.server import Server
from loopback_hub.store import Store

__all__ = ["REPOSITORIES", "Hub", "Server", "Store", "demo", "environment", "offer"]
