"""Writes the model of embed_model.py as ONNX Runtime's own optimiser leaves one: `embed_onnx.py MODEL FOLDER`.

Attention, norms and GELU are fused. In int8 quantisation is dynamic, weights by channel.
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

from embed_model import EPSILON, HEADS, HIDDEN, LAYERS



def graph(made):
    """The graph of the weights `made`."""
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
    made_graph = helper.make_graph(nodes, "bert", inputs, [result], list(constants.values()))
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made_graph, opset_imports=domains, ir_version=9)


if __name__ == "__main__":
    model, folder = map(pathlib.Path, sys.argv[1:])
    folder.mkdir()
    onnx.save(graph(load_file(model / "model.safetensors")), folder / "f32.onnx")
    quantize_dynamic(
        folder / "f32.onnx",
        folder / "int8.onnx",
        op_types_to_quantize=["MatMul", "Attention"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )
