"""Embeds texts with sentence-transformers on the CPU, which sorts them by length itself."""

import sentence_transformers
import torch
import transformers

from embed_arguments import BATCH, embed_when_asked, given, texts

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

torch.set_num_threads(given.threads)
model = sentence_transformers.SentenceTransformer(given.model, device="cpu", local_files_only=True)
model = model.to({"f32": torch.float32, "bf16": torch.bfloat16}[given.precision])


def embed(texts):
    return model.encode(texts, batch_size=BATCH, convert_to_tensor=True).float().numpy()


tokens = sum(min(len(ids), model.max_seq_length) for ids in model.tokenizer(texts)["input_ids"])
embed_when_asked(embed, tokens)
