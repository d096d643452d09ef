"""stlib against its peers on this processor: throughput, other families, first vector, memory, and what bounds them.

    STLIB_DATA_DIR=… python benchmarks/speed.py [--rounds 7] [--threads 2] [--only PART …]

The record is results/speed/PROCESSOR.json, named by vendor, family and model, since a ratio belongs to a processor.
All ways encode the same texts in turn, A B C A B C …, and ratios are taken within a round, so that a machine whose
speed drifts favours none. Peers: sentence-transformers as it is, in bfloat16, and with its backbone run by ONNX Runtime
and by OpenVINO where these are installed (`pip install -e '.[bench]'`): its own backends for them need an older
transformers, so the graph is exported here and put where its backend would stand. "Padded" is the plain loop of lesson
07. With STLIB_DATA_DIR the sentences are STS-B dev's (about 14 tokens), else the built-in ones. Nothing else should run
meanwhile: the load of the machine at the start is recorded. What is measured is written after each part.
"""

from __future__ import annotations

import argparse
import datetime
import io
import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import torch
import transformers
from sentence_transformers import SentenceTransformer as Peer
from transformers.utils import logging

from stlib import SentenceEncoder, SentenceTransformer
from stlib.backbone import Backbone
from stlib.evidence.corpora import documentation, load_pairs, load_sentences
from stlib.evidence.experiments.speed import alternate as in_turn
from stlib.evidence.experiments.speed import linear_flops, padded, plain
from stlib.evidence.records import write_whole
from stlib.evidence.scores import cosine, ranking, spearman
from stlib.fast import FastBackbone
from stlib.linear import Packed, Quantised, operators_work

ROOT = Path(__file__).resolve().parent.parent
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SCRIPTS = [
    "Сегодня идёт снег.",
    "今日は雨が降っています。",
    "اليوم تمطر",
    "आज बारिश हो रही है",
    "🙂 ok 👍",
    "naïve café",
]
Way = Callable[[list[str]], Any]


def stsb() -> Path | None:
    file = Path(os.environ.get("STLIB_DATA_DIR", "")) / "stsb" / "dev.csv"
    return file if "STLIB_DATA_DIR" in os.environ and file.exists() else None


def labelled_pairs() -> tuple[str, pd.DataFrame]:
    return ("STS-B dev", load_pairs(str(stsb()))) if stsb() else ("built-in", load_pairs())


def paragraph(pool: list[str], draw: random.Random, count: Callable[[str], int]) -> str:
    """Sentences in a row, 100 to 250 tokens in all."""
    wanted, text = draw.randint(100, 230), ""
    while count(text) < wanted:
        longer = f"{text} {draw.choice(pool)}".strip()
        text = longer if count(longer) <= 250 else text
    return text


@cache
def corpora() -> dict[str, list[str]]:
    """The sentences, paragraphs of 100 to 250 tokens, and a shuffled mix of lengths and scripts."""
    source, pairs = labelled_pairs()
    sentences = list(dict.fromkeys([*pairs.sentence1, *pairs.sentence2]))[:600]
    pool, draw = [*load_sentences().text, *load_pairs().sentence2], random.Random(0)
    tokenizer = SentenceTransformer.from_pretrained(MODEL).tokenizer
    paragraphs = [paragraph(pool, draw, lambda text: len(tokenizer(text)["input_ids"])) for _ in range(60)]
    mix = [*draw.choices(sentences, k=260), *paragraphs[:30], *draw.choices(SCRIPTS, k=90), *["", "yes", "no?"] * 6]
    draw.shuffle(mix)
    return {f"sentences ({source})": sentences, "paragraphs": paragraphs, "mix": mix}


class Elsewhere(torch.nn.Module):
    """Stands where sentence-transformers keeps its model: the same inputs and states, computed by another runtime."""

    def __init__(self, model: Any, run: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self.config, self._run = model.config, run
        self.register_buffer("place", torch.zeros(1))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> Any:
        states = torch.from_numpy(self._run(input_ids.numpy(), attention_mask.numpy()))
        return transformers.modeling_outputs.BaseModelOutput(last_hidden_state=states)


class States(torch.nn.Module):
    """The model as the exporters want it: two tensors in, one out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states


def onnx(model: Any, inputs: tuple[torch.Tensor, ...], threads: int) -> Callable[..., np.ndarray]:
    import onnxruntime

    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    names, graph = ["input_ids", "attention_mask"], io.BytesIO()
    torch.onnx.export(
        States(model), inputs, graph, input_names=names, output_names=["states"], dynamo=True, external_data=False,
        dynamic_shapes=dict.fromkeys(names, dynamic), verbose=False,
    )  # fmt: skip
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph.getvalue(), settings, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, dict(zip(names, (ids, mask), strict=True)))[0]


def openvino(model: Any, inputs: tuple[torch.Tensor, ...], threads: int, precision: str) -> Callable[..., np.ndarray]:
    import openvino as runtime

    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    compiled = runtime.compile_model(runtime.convert_model(States(model), example_input=inputs), "CPU", hints)
    return lambda ids, mask: compiled([ids, mask])[0]


def peers(folder: Path) -> dict[str, Way]:
    """sentence-transformers on its backends; the graphs are the same model's."""
    half = Peer(str(folder), device="cpu", model_kwargs={"dtype": "bfloat16"})
    found: dict[str, Way] = {
        "sentence-transformers": Peer(str(folder), device="cpu").encode,
        "sentence-transformers, bfloat16": lambda texts: half.encode(texts, convert_to_tensor=True).float().numpy(),
    }
    ids, threads = torch.randint(1000, 2000, (3, 9)), torch.get_num_threads()
    builders = {"ONNX Runtime": ("onnxruntime", onnx)} | {
        f"OpenVINO, {short}": ("openvino", partial(openvino, precision=precision))
        for short, precision in (("float32", "f32"), ("bfloat16", "bf16"))
    }
    for name, (package, build) in builders.items():
        if find_spec(package):
            peer = Peer(str(folder), device="cpu", model_kwargs={"attn_implementation": "eager"})
            run = build(peer[0].auto_model, (ids, torch.ones_like(ids)), threads)
            peer[0].model = Elsewhere(peer[0].auto_model, run)
            found[f"sentence-transformers, {name}"] = peer.encode
    return found


def ways(folder: Path) -> dict[str, Way]:
    ours = {dtype: SentenceEncoder(folder, dtype=dtype, truncation="ignore", device="cpu") for dtype in DTYPES}
    bare = plain(ours["float32"])
    return (
        peers(folder)
        | {"plain loop, padded": partial(padded, bare), "stlib, plain weights": bare.encode}
        | {f"stlib, {dtype}": encoder.encode for dtype, encoder in ours.items()}
    )


DTYPES = ("float32", "bfloat16", "int8")


def alternate(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each call in each round, however long it takes."""
    return {name: np.array(spent) for name, spent in in_turn(calls, rounds, most_seconds=math.inf).items()}


def peak(rounds: int) -> dict[str, float | None]:
    """GFLOP/s of packed products in MiniLM's own shapes, the bound on everything below; None where there are none."""
    return {dtype: _peak(dtype, rounds) for dtype in DTYPES}


def _peak(dtype: str, rounds: int) -> float | None:
    kind = getattr(torch, dtype)
    if not operators_work(kind, "cpu"):
        return None
    flops = spent = 0.0
    for inputs, outputs in ((384, 1152), (384, 384), (384, 1536), (1536, 384)):
        states = torch.randn(2048, inputs)
        if dtype == "int8":
            mapped = Quantised(torch.randn(outputs, inputs), None)
            whole = torch.randint(1, 256, states.shape, dtype=torch.uint8)
            call = partial(
                torch.ops.onednn.qlinear_pointwise, whole, 1.0, 128, mapped._weight, mapped._scale, mapped._zeros, None,
                1.0, 0, torch.float32, "none", [], "none",
            )  # fmt: skip
        else:
            call = partial(Packed(torch.randn(outputs, inputs, dtype=kind), None), states.to(kind))
        runs = alternate({"": call}, 6 * rounds)[""]
        flops, spent = flops + 2 * 2048 * inputs * outputs, spent + float(np.percentile(runs, 25))
    return flops / spent / 1e9


def throughput(folder: Path, rounds: int, peaks: dict[str, float | None]) -> list[dict[str, Any]]:
    """Each way on each set: rate, ratio to sentence-transformers, share of the peak, nearness of the vectors."""
    rows, every = [], ways(folder)
    encoder = SentenceEncoder(folder, truncation="ignore", device="cpu")
    first = next(iter(every))
    for corpus, texts in corpora().items():
        tokens = np.minimum(encoder.token_counts(texts), encoder.max_length)
        wanted = every[first](texts)
        seconds = alternate({name: partial(way, texts) for name, way in every.items()}, rounds)
        for name, way in every.items():
            near, ratios = (way(texts) * wanted).sum(axis=1), seconds[first] / seconds[name]
            rate = len(texts) / float(np.median(seconds[name]))
            bound = peaks.get(name.removeprefix("stlib, "))
            work = rate * float(tokens.mean()) * linear_flops(encoder) / 1e9
            rows.append(
                {
                    "corpus": corpus, "texts": len(texts), "tokens_a_text": float(tokens.mean()), "way": name,
                    "texts_a_second": rate, "ratio": float(np.median(ratios)),
                    "ratio_low": float(ratios.min()), "ratio_high": float(ratios.max()),
                    "cosine_worst": float(near.min()), "cosine_mean": float(near.mean()),
                    "share_of_peak": work / bound if bound else None,
                }
            )  # fmt: skip
            print(f"{corpus:24} {name:42} {rate:7.0f} texts/s {rows[-1]['ratio']:6.2f} times", flush=True)
    return rows


def small(name: str) -> Any:
    """A backbone of six layers and 384 wide in another layout, with random weights."""
    torch.manual_seed(0)
    size = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
    if name == "Qwen2":
        causal = transformers.Qwen2Config(**size, num_key_value_heads=12, vocab_size=31000)
        return transformers.Qwen2Model(causal)
    if name == "ModernBERT":
        modern = transformers.ModernBertConfig(**size, vocab_size=31000, pad_token_id=0)
        return transformers.ModernBertModel(modern)
    return transformers.MPNetModel(transformers.MPNetConfig(**size, vocab_size=31000))


def families(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """What packing, bfloat16 and int8 gain over the plain path in layouts other than BERT's, and how near they stay."""
    rows, texts = [], next(iter(corpora().values()))[:150]
    whole = SentenceTransformer.from_pretrained(folder)
    for family in ("MPNet", "ModernBERT", "Qwen2"):
        encoders = {}
        for dtype in ("plain", *DTYPES):
            backbone = Backbone(small(family).eval(), pad_id=0)
            backbone.int8 = dtype == "int8"
            twin = SentenceTransformer(backbone, whole.tokenizer, max_length=256).eval()
            if dtype == "bfloat16":
                twin.backbone.to(torch.bfloat16)
            encoders[dtype] = SentenceEncoder(twin, truncation="ignore", device="cpu")
        encoders["plain"].packed = False
        wanted = encoders["plain"].encode(texts)
        seconds = alternate({name: partial(one.encode, texts) for name, one in encoders.items()}, rounds)
        for dtype in DTYPES:
            fast = FastBackbone(encoders[dtype].model.backbone)
            near = (encoders[dtype].encode(texts) * wanted).sum(axis=1)
            rows.append(
                {
                    "family": family, "dtype": dtype, "path": fast.path, "layers_kept_in_bfloat16": len(fast.kept),
                    "ratio_to_plain": float(np.median(seconds["plain"] / seconds[dtype])),
                    "cosine_mean": float(near.mean()),
                }
            )  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def quality(folder: Path) -> dict[str, Any]:
    """Points by number format: Spearman on labelled pairs, recall@10 on the documentation, and what is lost of it."""
    name, pairs = labelled_pairs()
    passages, found, points = documentation(), {}, {}
    for dtype in DTYPES:
        encoder = SentenceEncoder(folder, dtype=dtype, truncation="ignore", device="cpu")
        first, second = (encoder.encode(pairs[column]) for column in ("sentence1", "sentence2"))
        points[dtype] = spearman(cosine(first, second), pairs["score"]).value
        vectors = encoder.encode(passages.queries), encoder.encode(passages.texts)
        found[dtype] = ranking(*vectors, passages.relevant)
    lost = {dtype: found[dtype] - found["float32"] for dtype in DTYPES[1:]}
    return {
        "pairs": name, "rows": len(pairs), "spearman": points,
        "recall": {dtype: one.value for dtype, one in found.items()},
        "recall_change": {dtype: [one.value, *one.interval()] for dtype, one in lost.items()},
    }  # fmt: skip


_FIRST = {
    "stlib": "from stlib import SentenceEncoder; SentenceEncoder({!r}).encode('first')",
    "sentence_transformers": "from sentence_transformers import SentenceTransformer as S; S({!r}).encode('first')",
    "imports of both": "import torch; from transformers import BertModel, AutoTokenizer",
}
# VmHWM, the peak in kB of this program alone: getrusage would count what the parent held before the program started.
_MEMORY = """
import re
from stlib import SentenceEncoder
encoder, texts = SentenceEncoder({!r}, truncation="ignore"), open({!r}, encoding="utf-8").read().split("\\n")
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
encoder.encode(texts[:2000])
before = peak()
encoder.encode(texts)
print(len(texts), before, peak())
"""


def program(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def first_vector(folder: Path, rounds: int) -> dict[str, float]:
    """Seconds of a process that encodes one text, from its start to its end, and of one that only imports.

    Ending takes each of them about a second, so that of the times to the vector itself the ratio is a little lower.
    """
    seconds = alternate({name: partial(program, code.format(str(folder))) for name, code in _FIRST.items()}, rounds)
    ratio = np.median(seconds["stlib"] / seconds["sentence_transformers"])
    return {name: float(np.median(spent)) for name, spent in seconds.items()} | {"ratio": float(ratio)}


def memory(folder: Path, sizes: tuple[int, ...] = (10_000, 100_000)) -> list[dict[str, float]]:
    """Peak memory of a process that encodes n sentences: what encoding adds, beside the size of the vectors."""
    sentences, rows = next(iter(corpora().values())), []
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "texts.txt"
        for size in sizes:
            file.write_text("\n".join(itertools.islice(itertools.cycle(sentences), size)), encoding="utf-8")
            count, before, most = map(int, program(_MEMORY.format(str(folder), str(file))).split())
            added = {"added_mb": (most - before) / 1024, "vectors_mb": count * 384 * 4 / 2**20}
            rows.append({"texts": count, **added, "peak_mb": most / 1024})
    return rows


def machine(threads: int) -> dict[str, Any]:
    """The processor by family and model: its name is often masked."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    vendor = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}.get(told.get("vendor_id", ""), "unknown")
    packages = ("torch", "transformers", "sentence-transformers", "onnxruntime", "openvino")
    return {
        "id": f"{vendor}-family{told.get('cpu family', '')}-model{told.get('model', '')}",
        "processor": told.get("model name", ""), "cores": os.cpu_count(), "threads": threads,
        "instructions": [flag for flag in INSTRUCTIONS if flag in told.get("flags", "").split()],
        "load_before": os.getloadavg()[0], "date": datetime.date.today().isoformat(),
        "packages": {name: version(name) for name in packages if find_spec(re.sub("-", "_", name))},
    }  # fmt: skip


INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="*", default=[], help="measure these parts again; the others stay")
    options = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    folder = SentenceTransformer.from_pretrained(MODEL).folder
    assert folder is not None
    here = machine(options.threads)
    out = ROOT / "results" / "speed" / f"{here['id']}.json"
    results: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if options.only and out.exists() else {}
    parts: dict[str, Callable[[], Any]] = {
        "peak_gflops": lambda: peak(options.rounds),
        "throughput": lambda: throughput(folder, options.rounds, results.get("peak_gflops", {})),
        "families": lambda: families(folder, options.rounds),
        "first_vector_seconds": lambda: first_vector(folder, options.rounds),
        "quality": lambda: quality(folder),
        "memory": lambda: memory(folder),
    }
    for name, measure in parts.items():
        if not options.only or name in options.only:
            results |= {name: measure(), "machine": here, "rounds": options.rounds}
            out.parent.mkdir(exist_ok=True)
            write_whole(out, results)
            print(f"\n{name}\n{json.dumps(results[name], indent=1)}", flush=True)


if __name__ == "__main__":
    main()
