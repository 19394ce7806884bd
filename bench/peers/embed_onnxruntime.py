"""Embeds texts with ONNX Runtime: the fused graph that embed_onnx.py writes, texts sorted by length."""

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from embed_arguments import BATCH, embed_when_asked, given, texts

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = given.threads
options.log_severity_level = 3  # Errors.
graph = f"{given.model}/onnx/{given.precision}.onnx"
session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
tokenizer = Tokenizer.from_file(f"{given.model}/tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation(256)


def embed(texts):
    ids = [encoded.ids for encoded in tokenizer.encode_batch(texts)]
    order = sorted(range(len(ids)), key=lambda at: -len(ids[at]))
    vectors = np.empty((len(ids), 384), np.float32)
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        longest = len(ids[batch[0]])
        tokens = np.zeros((len(batch), longest), np.int32)
        mask = np.zeros_like(tokens)
        for row, at in enumerate(batch):
            tokens[row, : len(ids[at])] = ids[at]
            mask[row, : len(ids[at])] = 1
        fed = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        (hidden,) = session.run(None, fed)
        mean = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        vectors[batch] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return vectors


embed_when_asked(embed, sum(len(one.ids) for one in tokenizer.encode_batch(texts)))
