"""Writes the model that the tests use, and what others make of texts with it.

    pip install numpy safetensors tokenizers
    python tiny_model.py

`tiny_model/` is a BERT of 2 layers, 32 wide, with 4 heads, random weights and some 300 tokens, in the layout of Hugging
Face and sentence-transformers. Its `tokenizer.json` asks for padding and truncation that must not be obeyed.
`golden_vectors.json` has texts with their ids by `tokenizers` and their vectors by plain numpy in float64.
`golden_ids.json` has odd texts and their ids by `tokenizers` for several settings of the normaliser.
"""

import json
import math
import pathlib
import random
import string

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "tiny_model"
LAYERS, HIDDEN, HEADS, INNER, POSITIONS, LONGEST, EPSILON = 2, 32, 4, 64, 40, 24, 1e-12
SETTINGS = [
    {},
    {"lowercase": False, "strip_accents": None},
    {"lowercase": True, "strip_accents": False, "handle_chinese_chars": False},
    {"lowercase": False, "strip_accents": True, "clean_text": False},
]


def vocabulary():
    words = """the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one
    you were all her she there would their we him been has when who will no more if out so up said what its about than into them
    can only other new some time could these two may first then do any like my now over such our man me even most made after also
    news market report embed vector cafe naive resume strasse""".split()
    tails = "s ed ing er ly est ment tion ness able al ity ous ize un re ca fe na ive".split()
    others = "αβγδεσςωабвгдежзияñøæßıłđþ中文字日本語한글ไทยहि–—“”‘’¿¡。、€£°№…«»"
    letters = list(string.ascii_lowercase + string.digits)
    # Letters that lowercasing or decomposing leaves, the marks that it does not take off, and capitals for a cased setting.
    rest = list("ABCDEÉÑÜéñüạ̈̇") + ["한", "ᄒ", "ᅡ", "ᆫ", "##ᅡ", "##ᆫ", "##é", "##̈", "##σ", "##ς", "##ß", "##i", "##̇"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]"]
    pieces += list(string.punctuation) + letters + ["##" + letter for letter in letters]
    pieces += words + ["##" + tail for tail in tails] + list(others) + rest
    return list(dict.fromkeys(pieces))


def tokenizer(pieces, **options):
    model = WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]", max_input_chars_per_word=100)
    made = Tokenizer(model)
    made.normalizer = normalizers.BertNormalizer(**options)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return made


def weights(pieces):
    draw = np.random.default_rng(7)
    some = lambda *shape, scale=1.0: draw.uniform(-scale, scale, shape).astype(np.float32)
    made = {
        "embeddings.word_embeddings.weight": some(len(pieces), HIDDEN),
        "embeddings.position_embeddings.weight": some(POSITIONS, HIDDEN, scale=0.5),
        "embeddings.token_type_embeddings.weight": some(2, HIDDEN, scale=0.5),
    }

    def norm(name):
        made[f"{name}.weight"] = 1 + some(HIDDEN, scale=0.3)
        made[f"{name}.bias"] = some(HIDDEN, scale=0.3)

    def linear(name, before, after):
        made[f"{name}.weight"] = some(after, before, scale=2 / math.sqrt(before))
        made[f"{name}.bias"] = some(after, scale=0.5)

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


def vector(made, ids):
    """The vector of one text: the forward pass as the paper has it, mean over tokens, length 1."""
    get = lambda name: made[name].astype(np.float64)
    linear = lambda x, name: x @ get(f"{name}.weight").T + get(f"{name}.bias")

    def norm(x, name):
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + EPSILON) * get(f"{name}.weight") + get(f"{name}.bias")

    heads = lambda x: x.reshape(len(ids), HEADS, HIDDEN // HEADS).transpose(1, 0, 2)
    erf = np.vectorize(math.erf)
    x = get("embeddings.word_embeddings.weight")[ids] + get("embeddings.position_embeddings.weight")[: len(ids)]
    x = norm(x + get("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
    for at in range(LAYERS):
        layer = f"encoder.layer.{at}"
        query, key, value = (heads(linear(x, f"{layer}.attention.self.{part}")) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(HIDDEN // HEADS)
        powers = np.exp(scores - scores.max(axis=2, keepdims=True))
        context = powers / powers.sum(axis=2, keepdims=True) @ value
        context = context.transpose(1, 0, 2).reshape(len(ids), HIDDEN)
        x = norm(x + linear(context, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        inner = linear(x, f"{layer}.intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def odd_text(draw, pieces):
    """A text of words, letters from anywhere in Unicode, marks, controls and tokens."""
    blocks = [(0x20, 0x7F), (0xA0, 0x180), (0x180, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xA00)]
    blocks += [(0xE00, 0xE80), (0x1100, 0x1200), (0x1E00, 0x2000), (0x2000, 0x2070), (0x20A0, 0x2200), (0x3000, 0x3100)]
    blocks += [(0x4E00, 0x4F00), (0xAC00, 0xAD00), (0xE000, 0xE010), (0xF900, 0xFB00), (0xFE00, 0x10000)]
    blocks += [(0x1D400, 0x1D500), (0x1F300, 0x1F650), (0x20000, 0x20100), (0x2F800, 0x2F900), (0xE0000, 0xE0080)]
    text = ""
    for _ in range(draw.randint(0, 14)):
        kind = draw.random()
        if kind < 0.35:
            word = draw.choice(pieces).replace("##", "")
            text += draw.choice([word, word.upper(), word.title(), word + draw.choice(pieces).replace("##", "")])
        elif kind < 0.65:
            low, high = draw.choice(blocks)
            text += "".join(chr(draw.randrange(low, high)) for _ in range(draw.randint(1, 4)))
        elif kind < 0.75:
            text += draw.choice(["é", "e\u0301", "e\u0323\u0302", "\u0302\u0323", "İ", "ǅ", "ß", "ﬁ", "Å", "각", "ΣΑΣ", "ñ"])
        elif kind < 0.8:
            text += draw.choice("\0\x01\x0b\x0c\x1c\x7f\x85\xa0\xad\u200b\u200d\u2028\u202f\u3000\ufeff\ufffd\U000f0000")
        elif kind < 0.84:
            text += draw.choice(["[MASK]", "[SEP]", "[CLS]", "[mask]", "[UNK", "[[MASK]]", "[unused0]", "##s"])
        else:
            text += draw.choice(" \t\n\r ,.!?-")
        if draw.random() < 0.4:
            text += " "
    return text


def main():
    pieces = vocabulary()
    made = weights(pieces)
    (FOLDER / "1_Pooling").mkdir(parents=True, exist_ok=True)
    write = lambda name, value: (FOLDER / name).write_text(json.dumps(value, indent=1) + "\n")
    write(
        "config.json",
        {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "intermediate_size": INNER,
            "hidden_act": "gelu",
            "layer_norm_eps": EPSILON,
            "max_position_embeddings": POSITIONS,
            "position_embedding_type": "absolute",
            "type_vocab_size": 2,
            "vocab_size": len(pieces),
        },
    )
    write("sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write(
        "modules.json",
        [
            {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for at, (path, kind) in enumerate(modules)
        ],
    )
    modes = "cls_token mean_tokens max_tokens mean_sqrt_len_tokens".split()
    write(
        "1_Pooling/config.json",
        {"word_embedding_dimension": HIDDEN} | {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in modes},
    )
    write("tokenizer_config.json", {"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
    (FOLDER / "vocab.txt").write_text("".join(piece + "\n" for piece in pieces))
    save_file(made, FOLDER / "model.safetensors")

    trap = tokenizer(pieces)
    trap.enable_truncation(8)
    trap.enable_padding(length=8)
    trap.save(str(FOLDER / "tokenizer.json"), pretty=False)

    plain = tokenizer(pieces)
    texts = [
        "The market report is new.",
        "a",
        "Naïve cafés in the Straße — “résumé”!",
        "Unvectorable embedding " * 9,
        "[CLS] the [MASK] of it [SEP]",
        "中文 and 日本語",
        "x" * 101 + " and " + "x" * 100,
        "one two three four five six seven eight nine ten and all that was said of them, or had been",
        "¿QUÉ?",
    ]
    vectors = []
    for text in texts:
        ids = plain.encode(text).ids
        kept = ids if len(ids) <= LONGEST else ids[: LONGEST - 1] + ids[-1:]
        values = [float(value) for value in vector(made, kept)]
        vectors.append({"text": text, "ids": kept, "cut": len(ids) > LONGEST, "vector": values})
    (HERE / "golden_vectors.json").write_text(json.dumps(vectors, ensure_ascii=False, indent=0) + "\n")

    draw = random.Random(11)
    odd = [odd_text(draw, pieces) for _ in range(600)]
    golden = [{"settings": one, "ids": [tokenizer(pieces, **one).encode(text).ids for text in odd]} for one in SETTINGS]
    golden = {"texts": odd, "golden": golden}
    (HERE / "golden_ids.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")


main()
