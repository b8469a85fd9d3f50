"""Small repositories that mean no harm, made with the real libraries.

    files = tiny_bert()
    files["model.safetensors"], files["tokenizer.json"]

Each builder returns path → bytes. They import torch and transformers inside, so that a server over an existing folder
starts without them.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

WORDS = [
    "a",
    "an",
    "and",
    "are",
    "as",
    "bad",
    "at",
    "be",
    "by",
    "came",
    "day",
    "film",
    "for",
    "from",
    "good",
    "great",
    "had",
    "has",
    "he",
    "her",
    "him",
    "his",
    "i",
    "in",
    "is",
    "it",
    "its",
    "movie",
    "my",
    "not",
    "of",
    "on",
    "one",
    "or",
    "plot",
    "really",
    "saw",
    "say",
    "see",
    "she",
    "so",
    "story",
    "that",
    "the",
    "they",
    "this",
    "time",
    "to",
    "very",
    "was",
    "we",
    "well",
    "were",
    "what",
    "when",
    "which",
    "who",
    "will",
    "with",
    "worst",
    "you",
    "##s",
    "##ed",
    "##ing",
    "##er",
    "##ly",
    ".",
    ",",
    "!",
    "?",
    "'",
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"bcdefghjklmnopqrstuvwxyz"]

CONFIGURATION = '''\
"""Configuration of a tiny classifier."""

from transformers import PreTrainedConfig


class TinyConfig(PreTrainedConfig):
    model_type = "tiny-demo"

    def __init__(self, vocab_size=96, width=16, labels=2, **kwargs):
        self.vocab_size = vocab_size
        self.width = width
        self.labels = labels
        super().__init__(**kwargs)
'''

LAYERS = '''\
"""The one layer of a tiny classifier."""

import torch
from torch import nn


class MeanPool(nn.Module):
    """Average over the tokens."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden.mean(dim=1)
'''

MODELING = '''\
"""A tiny classifier: embed, average, project."""

from torch import nn
from transformers import PreTrainedModel

from .configuration_tiny import TinyConfig
from .layers_tiny import MeanPool


class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config: TinyConfig):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.pool = MeanPool()
        self.project = nn.Linear(config.width, config.labels)
        self.post_init()

    def forward(self, input_ids, **_):
        return self.project(self.pool(self.embed(input_ids)))
'''

CUSTOM_CONFIG: dict[str, Any] = {
    "architectures": ["TinyModel"],
    "auto_map": {"AutoConfig": "configuration_tiny.TinyConfig", "AutoModel": "modeling_tiny.TinyModel"},
    "model_type": "tiny-demo",
    "vocab_size": 96,
    "width": 16,
    "labels": 2,
}


def card(title: str, text: str) -> bytes:
    return f"---\nlicense: apache-2.0\nlibrary_name: transformers\n---\n# {title}\n\n{text}\n".encode()


def _saved(tokenizer: Any) -> dict[str, bytes]:
    """What `save_pretrained` writes."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        root = Path(scratch)
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(VOCABULARY))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    special = {"unk": "[UNK]", "pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, **{f"{k}_token": v for k, v in special.items()}
    )


def _classifier() -> Any:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    state = torch.random.get_rng_state()
    torch.manual_seed(20)
    config = BertConfig(
        vocab_size=96,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label={0: "NEGATIVE", 1: "POSITIVE"},
        label2id={"NEGATIVE": 0, "POSITIVE": 1},
    )
    try:
        return BertForSequenceClassification(config)
    finally:
        torch.random.set_rng_state(state)


def tiny_bert() -> dict[str, bytes]:
    """A two-layer BERT classifier: safetensors, a fast tokenizer, a card."""
    from safetensors.torch import save

    model = _classifier()
    model.config.architectures = ["BertForSequenceClassification"]
    text = "A classifier of two small layers, for trying things out. Its answers mean nothing."
    return {
        **_saved(_tokenizer()),
        "README.md": card("tiny-bert", text),
        "config.json": model.config.to_json_string(use_diff=True).encode(),
        "model.safetensors": bytes(save(model.state_dict(), metadata={"format": "pt"})),
    }


def tiny_bert_bin() -> dict[str, bytes]:
    """The same, published the old way: only `pytorch_model.bin`, a torch zip of plain tensors."""
    import torch

    model = _classifier()
    files = {name: data for name, data in tiny_bert().items() if name != "model.safetensors"}
    weights = io.BytesIO()
    torch.save(model.state_dict(), weights)
    return {**files, "pytorch_model.bin": weights.getvalue()}


def _custom_weights() -> bytes:
    import torch
    from safetensors.torch import save

    generator = torch.Generator().manual_seed(7)
    shapes = {"embed.weight": (96, 16), "project.weight": (2, 16), "project.bias": (2,)}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return bytes(save(tensors, metadata={"format": "pt"}))


def custom_code() -> dict[str, bytes]:
    """A model with code of its own in three files, the way `trust_remote_code=True` runs it."""
    return {
        "README.md": card("tiny-custom", "A model with code of its own; load it with `trust_remote_code=True`."),
        "config.json": json.dumps(CUSTOM_CONFIG, indent=2).encode(),
        "configuration_tiny.py": CONFIGURATION.encode(),
        "layers_tiny.py": LAYERS.encode(),
        "modeling_tiny.py": MODELING.encode(),
        "model.safetensors": _custom_weights(),
    }
