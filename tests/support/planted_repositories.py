# ruff: noqa: E501 - one repository a line
"""Repositories whose files do harm together; the first file of each is the one that a loader imports.

for name, files in REPOSITORIES.items():
    first = next(iter(files))
"""

from __future__ import annotations

CODE = "import os\nos.system('id')\n"

REPOSITORIES: dict[str, dict[str, str]] = {
    "helper function": {
        "modeling_x.py": "from .helper import go\nclass M:\n    def forward(self, x): return go(x)\n",
        "helper.py": "import os\ndef go(x):\n    os.system(x)\n",
    },
    "helper on import": {"modeling_x.py": "from . import helper\n", "helper.py": CODE},
    "star import": {
        "modeling_x.py": "from .helper import *\nrun('id')\n",
        "helper.py": "from os import system as run\n",
    },
    "re-export": {
        "modeling_x.py": "from .a import run\nrun('id')\n",
        "a.py": "from .b import run\n",
        "b.py": "from subprocess import getoutput as run\n",
    },
    "package": {
        "modeling_x.py": "from .pkg import thing\nthing()\n",
        "pkg/__init__.py": "from .deep.inner import thing\n",
        "pkg/deep/__init__.py": "",
        "pkg/deep/inner.py": "import os\ndef thing(): os.popen('id')\n",
    },
    "package init only": {
        "modeling_x.py": "from .pkg.inner import nothing\n",
        "pkg/__init__.py": CODE,
        "pkg/inner.py": "nothing = 1\n",
    },
    "cycle": {
        "modeling_x.py": "from . import a\na.f()\n",
        "a.py": "from . import b\ndef f(): b.g()\n",
        "b.py": "from . import a\nimport os\ndef g(): os.system('id')\n",
    },
    "base class in helper": {
        "modeling_x.py": "from .base import Base\nclass M(Base):\n    def forward(self, x): return self.go(x)\n",
        "base.py": "import os\nclass Base:\n    def go(self, x): return os.popen(x)\n",
    },
    "function passed across": {
        "modeling_x.py": "import os\nfrom .helper import apply\napply(os.system, 'id')\n",
        "helper.py": "def apply(f, a): return f(a)\n",
    },
    "command from helper": {
        "modeling_x.py": "from .names import N\nimport os\ngetattr(os, N)('id')\n",
        "names.py": "N = 'sys' + 'tem'\n",
    },
    "exec text from helper": {"modeling_x.py": "from .text import T\nexec(T)\n", "text.py": "T = 'import os'\n"},
    "decorator from helper": {
        "modeling_x.py": "from .d import log\n@log\ndef forward(x): return x\n",
        "d.py": "import os\ndef log(f):\n    os.system('id')\n    return f\n",
    },
    "metaclass from helper": {
        "modeling_x.py": "from .m import Meta\nclass A(metaclass=Meta): pass\n",
        "m.py": "import os\nclass Meta(type):\n    def __new__(c, n, b, d):\n        os.system('id')\n        return type.__new__(c, n, b, d)\n",
    },
    "shadowed library": {"modeling_x.py": "import einops\neinops.rearrange\n", "einops.py": CODE},
    "module getattr": {
        "modeling_x.py": "from .lazy import anything\n",
        "lazy.py": "import os\ndef __getattr__(n): return os.system('id')\n",
    },
    "import in function": {
        "modeling_x.py": "class M:\n    def forward(self, x):\n        from .late import f\n        return f(x)\n",
        "late.py": "import os\ndef f(x): os.system('id')\n",
    },
    "importlib own package": {
        "modeling_x.py": "import importlib\nm = importlib.import_module('.late', __package__)\nm.f()\n",
        "late.py": "import os\ndef f(): os.system('id')\n",
    },
    "instance from helper": {
        "modeling_x.py": "from .obj import runner\nrunner.run('id')\n",
        "obj.py": "import os\nclass R:\n    def run(self, c): os.system(c)\nrunner = R()\n",
    },
    "alias of module in helper": {
        "modeling_x.py": "from .h import lib\nlib.system('id')\n",
        "h.py": "import os as lib\n",
    },
    "attribute of helper module": {"modeling_x.py": "from . import h\nh.os.system('id')\n", "h.py": "import os\n"},
    "payload file of another name": {"modeling_x.py": "exec(open('vocab.txt').read())\n", "vocab.txt": CODE},
    "parent relative": {
        "pkg/modeling_x.py": "from ..util import f\nf()\n",
        "util.py": "import os\ndef f(): os.system('id')\n",
    },
    "patch from helper": {
        "modeling_x.py": "from .h import setup\nsetup()\n",
        "h.py": "import torch\ndef setup(): torch.load = eval\n",
    },
    "mutual state": {
        "modeling_x.py": "from . import state\nfrom .run import go\nstate.f = __import__('os').system\ngo()\n",
        "state.py": "f = None\n",
        "run.py": "from . import state\ndef go(): state.f('id')\n",
    },
}
