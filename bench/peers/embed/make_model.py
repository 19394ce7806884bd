"""Writes a model of the shape of all-MiniLM-L6-v2 with random weights, for measuring: `make_model.py FOLDER`.

Speed does not depend on what the weights are. Words are made of syllables; there are 30522 tokens. With onnx installed,
model.onnx is the same model as ONNX Runtime's own optimiser leaves one (fused attention, norms and GELU), and model_int8.onnx
that with dynamic quantisation, weights by channel.
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
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
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


def write_onnx(folder, made):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], {}

    def constant(name, value):
        constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def node(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], name=output, domain="com.microsoft", **attributes))
        return output

    def multiply(x, weight, output):
        nodes.append(helper.make_node("MatMul", [x, weight], [output], name=output))
        return output

    kept = {name: constant(name, value) for name, value in made.items() if value.ndim == 1}
    for name in ("word", "position", "token_type"):
        constant(name, made[f"embeddings.{name}_embeddings.weight"])
    embed = ["input_ids", "token_type_ids", "word", "position", "token_type"]
    embed += [kept[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")]
    nodes.append(
        helper.make_node("EmbedLayerNormalization", embed, ["x0", "unused"], domain="com.microsoft", epsilon=EPSILON)
    )
    x = "x0"
    for at in range(LAYERS):
        layer = f"encoder.layer.{at}"
        parts = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
        joined = np.concatenate([made[f"{part}.weight"].T for part in parts], axis=1)
        bias = constant(f"{layer}.qkv.bias", np.concatenate([made[f"{part}.bias"] for part in parts]))
        attended = [x, constant(f"{layer}.qkv.weight", joined), bias, "attention_mask"]
        y = node("Attention", attended, f"{layer}.attended", num_heads=HEADS)

        def added(y, x, name, normed):
            weight = constant(f"{name}.weight.t", made[f"{name}.weight"].T)
            inputs = [multiply(y, weight, f"{name}.product"), x, kept[f"{normed}.weight"], kept[f"{normed}.bias"]]
            return node("SkipLayerNormalization", [*inputs, kept[f"{name}.bias"]], f"{normed}.out", epsilon=EPSILON)

        x = added(y, x, f"{layer}.attention.output.dense", f"{layer}.attention.output.LayerNorm")
        up = f"{layer}.intermediate.dense"
        y = multiply(x, constant(f"{up}.weight.t", made[f"{up}.weight"].T), f"{up}.product")
        y = node("BiasGelu", [y, kept[f"{up}.bias"]], f"{up}.gelu")
        x = added(y, x, f"{layer}.output.dense", f"{layer}.output.LayerNorm")
    batch = lambda name: helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "tokens"])
    result = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "tokens", HIDDEN])
    inputs = [batch(name) for name in ("input_ids", "attention_mask", "token_type_ids")]
    graph = helper.make_graph(nodes, "bert", inputs, [result], list(constants.values()))
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=9), folder / "model.onnx")

    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        folder / "model.onnx",
        folder / "model_int8.onnx",
        op_types_to_quantize=["MatMul", "Attention"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
made = weights()
write_folder(folder, made)
try:
    write_onnx(folder, made)
except ImportError as missing:
    print(f"skipped: {missing.name} is not installed, so there is no model.onnx")
