"""Writes a model of the shape of all-MiniLM-L6-v2 with random weights, for measuring: `embed_model.py FOLDER`.

Speed does not depend on what the weights are. Words are made of syllables; there are 30522 tokens.
"""

import itertools
import json
import math
import pathlib
import random
import string
import sys

import numpy as np
from safetensors.numpy import save_file
from tokenizers import BertWordPieceTokenizer

LAYERS, HIDDEN, HEADS, INNER, POSITIONS, WORDS, LONGEST, EPSILON = 6, 384, 12, 1536, 512, 30522, 256, 1e-12


def vocabulary():
    letters = list(string.ascii_lowercase + string.digits)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation, *letters, *("##" + one for one in letters)]
    syllables = ["".join(parts) for parts in itertools.product("bcdfghjklmnprstvwz", "aeiou", ["", "n", "r", "s"])]
    draw = random.Random(5)
    draw.shuffle(syllables)
    pieces += syllables + ["##" + one for one in syllables]
    words = ("".join(draw.choices(syllables, k=draw.choice([2, 2, 2, 3, 3, 4]))) for _ in itertools.count())
    known = dict.fromkeys(pieces)
    while len(known) < WORDS:
        word = next(words)
        known["##" + word if draw.random() < 0.15 else word] = None
    return list(known)


def weights():
    draw = np.random.default_rng(3)
    some = lambda *shape, scale: draw.normal(0, scale, shape).astype(np.float32)
    made = {
        "embeddings.word_embeddings.weight": some(WORDS, HIDDEN, scale=0.05),
        "embeddings.position_embeddings.weight": some(POSITIONS, HIDDEN, scale=0.02),
        "embeddings.token_type_embeddings.weight": some(2, HIDDEN, scale=0.02),
    }

    def norm(name):
        made[f"{name}.weight"] = 1 + some(HIDDEN, scale=0.1)
        made[f"{name}.bias"] = some(HIDDEN, scale=0.1)

    def linear(name, before, after):
        made[f"{name}.weight"] = some(after, before, scale=1 / math.sqrt(before))
        made[f"{name}.bias"] = some(after, scale=0.1)

    norm("embeddings.LayerNorm")
    for at in range(LAYERS):
        layer = f"encoder.layer.{at}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            linear(f"{layer}.{part}", HIDDEN, HIDDEN)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", HIDDEN, INNER)
        linear(f"{layer}.output.dense", INNER, HIDDEN)
        norm(f"{layer}.output.LayerNorm")
    return made


def write_folder(folder, made):
    (folder / "1_Pooling").mkdir(parents=True)
    write = lambda name, value: (folder / name).write_text(json.dumps(value, indent=1) + "\n")
    config = dict(model_type="bert", architectures=["BertModel"], hidden_size=HIDDEN, num_hidden_layers=LAYERS)
    config |= dict(num_attention_heads=HEADS, intermediate_size=INNER, hidden_act="gelu", layer_norm_eps=EPSILON)
    config |= dict(max_position_embeddings=POSITIONS, type_vocab_size=2, vocab_size=WORDS, pad_token_id=0)
    write("config.json", config)
    write("sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    kind = "sentence_transformers.models."
    write("modules.json", [dict(idx=n, name=str(n), path=m[0], type=kind + m[1]) for n, m in enumerate(modules)])
    modes = "cls_token mean_tokens max_tokens mean_sqrt_len_tokens".split()
    pooling = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in modes}
    write("1_Pooling/config.json", {"word_embedding_dimension": HIDDEN} | pooling)
    write("tokenizer_config.json", {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": POSITIONS})
    (folder / "vocab.txt").write_text("".join(piece + "\n" for piece in vocabulary()))
    BertWordPieceTokenizer(str(folder / "vocab.txt")).save(str(folder / "tokenizer.json"))
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    write_folder(pathlib.Path(sys.argv[1]), weights())
