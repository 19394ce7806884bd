"""Embeds texts with sentence-transformers on the CPU, which sorts them by length itself; batches of 32."""

import sentence_transformers
import torch

from embed_arguments import given, measure, texts

torch.set_num_threads(given.threads)
model = sentence_transformers.SentenceTransformer(given.model, device="cpu", local_files_only=True)
if given.precision == "bf16":
    model = model.to(torch.bfloat16)
elif given.precision == "int8":
    model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)


def embed(texts):
    return model.encode(texts, batch_size=32, convert_to_tensor=True).float().numpy()


tokens = sum(min(len(ids), model.max_seq_length) for ids in model.tokenizer(texts)["input_ids"])
measure("sentence-transformers " + sentence_transformers.__version__, embed, tokens)
