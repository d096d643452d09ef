"""Record what the size of stella_en_1.5B_v5 costs: time to load, memory, tokens a second, next to all-MiniLM-L6-v2.

    python benchmarks/stella_cost.py [THREADS]

Its weights aren't needed for that: a checkpoint of the full size (1,543,268,864 parameters, bfloat16) and in stella's
layout is made on the fly with random weights in a temporary folder (3.1 GB of disk, 8 GB of memory), and removed.
Each model is loaded and measured in a process of its own, on the same token ids: MiniLM's tokenizer stands in for
stella's, which isn't here either. Writes results/stella_cost.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stlib import Projection, SentenceEncoder
from stlib.checkpoint import Layout, write_layout
from stlib.evidence.corpora import load_sentences
from stlib.evidence.records import machine, versions
from stlib.files import write_json
from stlib.hub import DEFAULT_MODEL

RESULTS = Path(__file__).resolve().parent.parent / "results" / "stella_cost.json"
PARAMETERS = 1_543_268_864
TEXTS, REPEATS = 24, 3


def build(folder: Path) -> None:
    """stella's layout: keys that begin with `model.`, `auto_map`, mean pooling, a head 1536 -> 1024, no Normalize."""
    from safetensors.torch import save_file
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Config, Qwen2Model, Qwen2Tokenizer

    config = Qwen2Config(
        architectures=["Qwen2ForCausalLM"], vocab_size=151646, hidden_size=1536, intermediate_size=8960,
        num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2, max_position_embeddings=131072,
        rope_theta=1e6, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0, pad_token_id=0,
        auto_map={"AutoModel": "modeling_qwen.Qwen2Model"},
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("meta"):
        model = Qwen2Model(config)
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    weights = {}
    for name, weight in model.named_parameters():
        values = torch.empty(weight.shape, dtype=torch.bfloat16)
        weights[f"model.{name}"] = values.fill_(1) if name.endswith("norm.weight") else values.normal_(0, 0.02)
    found = sum(values.numel() for values in weights.values())
    if found != PARAMETERS:
        raise ValueError(f"the model made here has {found:,} parameters, stella has {PARAMETERS:,}")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config.to_dict() | {"auto_map": config.auto_map})
    # of the same class as stella's, with a byte a token; see `measure`
    Qwen2Tokenizer(vocab={byte: n for n, byte in enumerate(ByteLevel.alphabet())}, merges=[]).save_pretrained(folder)
    layout = Layout(transformer=folder, pooling=("mean",), max_length=512)
    write_layout(folder, layout, [Projection.random(1536, 1024, seed=0)], 1536)


def peak_memory() -> int:
    """Highest resident size of this process so far, in bytes; getrusage would count what its parent held as well."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def measure(model: str, dtype: str, threads: int) -> dict[str, Any]:
    """Load and encode in this process, which has done nothing else. Memory is the highest resident size so far."""
    import transformers  # noqa: F401  (what it takes to import is no cost of the model)

    tokenizer = SentenceEncoder().tokenizer
    torch.set_num_threads(threads)
    before = peak_memory()
    started, started_processor = time.perf_counter(), time.process_time()
    encoder = SentenceEncoder(model, dtype=dtype, truncation="ignore", device="cpu")
    loaded, loaded_processor = time.perf_counter() - started, time.process_time() - started_processor
    encoder.model.tokenizer = tokenizer  # the same token ids for each model
    sentences = load_sentences()["text"].tolist()[:TEXTS]
    tokens = sum(encoder.token_counts(sentences))
    started = time.perf_counter()
    vectors = encoder.encode(sentences[:1])
    first = time.perf_counter() - started
    seconds, processor_seconds = [], []
    for _ in range(REPEATS):
        started, started_processor = time.perf_counter(), time.process_time()
        vectors = encoder.encode(sentences)
        seconds.append(time.perf_counter() - started)
        processor_seconds.append(time.process_time() - started_processor)
    assert np.isfinite(vectors).all() and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    return {
        "parameters": sum(weight.numel() for weight in encoder.model.backbone.parameters()),
        "dtype": dtype,
        "width": encoder.model.backbone.width,
        "dimension": encoder.dimension,
        "attention": "causal" if encoder.model.backbone.causal else "bidirectional",
        "seconds to load": round(loaded, 1),
        "processor seconds to load": round(loaded_processor, 1),
        "seconds to first vector": round(first, 2),
        "peak memory GB": round(peak_memory() / 1e9, 2),
        "memory before loading GB": round(before / 1e9, 2),
        "tokens": tokens,
        "tokens a second": round(tokens / float(np.median(seconds)), 1),
        # tells the models apart even where other programs share the machine
        "tokens a processor second": round(tokens / float(np.median(processor_seconds)), 1),
    }


def in_own_process(model: str, dtype: str, threads: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", model, dtype, str(threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(threads: int) -> None:
    torch.set_num_threads(threads)
    busy = round(os.getloadavg()[0], 1)  # what else ran on the machine
    models: dict[str, dict[str, Any]] = {}
    models["all-MiniLM-L6-v2, float32"] = in_own_process(DEFAULT_MODEL, "float32", threads)
    models["all-MiniLM-L6-v2, bfloat16"] = in_own_process(DEFAULT_MODEL, "bfloat16", threads)
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        stella = in_own_process(folder, "bfloat16", threads)
        stella["file GB"] = round((Path(folder) / "model.safetensors").stat().st_size / 1e9, 2)
    models["stella's size and layout, random weights, bfloat16"] = stella
    record = {
        "what": "cost of stella_en_1.5B_v5's size: the same token ids for each model, one process a model, one run",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine() | {"threads": threads, "load average before": busy},
        "versions": versions(),
        "texts": TEXTS,
        "repeats": REPEATS,
        "models": models,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
