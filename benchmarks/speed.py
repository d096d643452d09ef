"""stlib against sentence-transformers on this machine: throughput, first vector, memory, cost curves.

    python benchmarks/speed.py [--repeats 7] [--threads 2] [--quick] [--only PART …] [--out results/speed.json]

All ways encode the same texts in turn, A B C A B C …, and ratios are taken within a round, so that a machine
whose speed drifts is no argument. With STLIB_DATA_DIR the sentences are STS-B dev's (about 14 tokens), else
the built-in ones. Nothing else should run meanwhile: the load of the machine at the start is recorded. OUT is replaced
when all is measured; until then what is done stands beside it, in OUT with the suffix .new.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import torch
from transformers import BertConfig, BertModel
from transformers.utils import logging

from stlib import SentenceEncoder, SentenceTransformer
from stlib.backbone import Backbone
from stlib.evidence.corpora import load_pairs, load_sentences
from stlib.evidence.scores import cosine, spearman

ROOT = Path(__file__).resolve().parent.parent
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SCRIPTS = [
    "Сегодня идёт снег.",
    "今日は雨が降っています。",
    "اليوم تمطر",
    "आज बारिश हो रही है",
    "🙂 ok 👍",
    "Straße, naïve café",
]


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
    shared = os.environ.get("STLIB_DATA_DIR")
    file = Path(shared or "") / "stsb" / "dev.csv"
    pairs = pd.read_csv(file) if shared and file.exists() else load_pairs()
    sentences = list(dict.fromkeys([*pairs.sentence1, *pairs.sentence2]))[:1500]
    pool, draw = [*load_sentences().text, *load_pairs().sentence2], random.Random(0)
    tokenizer = SentenceTransformer.from_pretrained(MODEL).tokenizer
    paragraphs = [paragraph(pool, draw, lambda text: len(tokenizer(text)["input_ids"])) for _ in range(100)]
    mix = [
        *draw.choices(sentences, k=600),
        *paragraphs[:60],
        *draw.choices(SCRIPTS, k=200),
        *draw.choices(["", "yes", "no?"], k=40),
    ]
    draw.shuffle(mix)
    name = "sentences (STS-B dev)" if shared and file.exists() else "sentences (built-in)"
    return {name: sentences, "paragraphs": paragraphs, "mix": mix}


def ways(folder: Path) -> dict[str, Callable[[list[str]], np.ndarray]]:
    from sentence_transformers import SentenceTransformer as Peer

    peer, peer_bf16 = (
        Peer(str(folder), device="cpu"),
        Peer(str(folder), device="cpu", model_kwargs={"dtype": "bfloat16"}),
    )
    fast = SentenceEncoder(folder, truncation="ignore", device="cpu")
    plain = SentenceEncoder(folder, truncation="ignore", device="cpu")
    plain.packed = False
    half = SentenceEncoder(folder, dtype="bfloat16", truncation="ignore", device="cpu")
    return {
        "sentence-transformers, float32": peer.encode,
        "sentence-transformers, bfloat16": lambda texts: (
            peer_bf16.encode(texts, convert_to_tensor=True).float().numpy()
        ),
        "stlib, float32, plain weights": plain.encode,
        "stlib, float32": fast.encode,
        "stlib, bfloat16": half.encode,
    }


def alternate(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def throughput(folder: Path, repeats: int) -> list[dict[str, Any]]:
    rows = []
    encoder = SentenceEncoder(folder, truncation="ignore", device="cpu")
    every = ways(folder)
    first = next(iter(every))
    for corpus, texts in corpora().items():
        tokens = [min(count, encoder.max_length) for count in encoder.token_counts(texts)]
        wanted = every[first](texts)
        seconds = alternate({name: partial(way, texts) for name, way in every.items()}, repeats)
        for name, way in every.items():
            cosine = (way(texts) * wanted).sum(axis=1)
            ratios = np.array(seconds[first]) / np.array(seconds[name])
            rows.append(
                {
                    "corpus": corpus, "texts": len(texts), "tokens_a_text": float(np.mean(tokens)), "way": name,
                    "texts_a_second": len(texts) / float(np.median(seconds[name])),
                    "ratio": float(np.median(ratios)),
                    "ratio_low": float(ratios.min()), "ratio_high": float(ratios.max()),
                    "cosine_worst": float(cosine.min()), "cosine_mean": float(cosine.mean()),
                }
            )  # fmt: skip
            print(
                f"{corpus:24} {name:34} {rows[-1]['texts_a_second']:7.0f} texts/s   {rows[-1]['ratio']:.2f} times",
                flush=True,
            )
    return rows


def by_setting(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """By batch budget and by threads, float32 and bfloat16, on the sentences."""
    texts, rows = next(iter(corpora().values()))[:600], []
    threads = torch.get_num_threads()
    for dtype, count in itertools.product(("float32", "bfloat16"), sorted({1, threads})):
        encoder = SentenceEncoder(folder, dtype=dtype, truncation="ignore", device="cpu")
        torch.set_num_threads(count)
        budgets = (512, 1024, 2048, 4096, 8192, 16384)
        seconds = alternate({str(size): partial(encoder.encode, texts, batch_tokens=size) for size in budgets}, repeats)
        rows += [
            {
                "dtype": dtype,
                "threads": count,
                "batch_tokens": int(size),
                "texts_a_second": len(texts) / float(np.median(spent)),
            }
            for size, spent in seconds.items()
        ]
    torch.set_num_threads(threads)
    return rows


def by_threads(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """The ways side by side on the sentences, with one thread and with all."""
    texts, rows, every = next(iter(corpora().values()))[:600], [], ways(folder)
    threads = torch.get_num_threads()
    for count in sorted({1, threads}):
        torch.set_num_threads(count)
        seconds = alternate({name: partial(way, texts) for name, way in every.items()}, repeats)
        rows += [
            {"threads": count, "way": name, "texts_a_second": len(texts) / float(np.median(spent))}
            for name, spent in seconds.items()
        ]
    torch.set_num_threads(threads)
    return rows


def quality(folder: Path) -> dict[str, Any]:
    """Spearman on labelled pairs in points, float32 and bfloat16: STS-B dev's, or the built-in ones."""
    shared = os.environ.get("STLIB_DATA_DIR")
    file = Path(shared or "") / "stsb" / "dev.csv"
    pairs = load_pairs(str(file)) if shared and file.exists() else load_pairs()
    points = {}
    for dtype in ("float32", "bfloat16"):
        encoder = SentenceEncoder(folder, dtype=dtype, truncation="ignore", device="cpu")
        first, second = (encoder.encode(pairs[column]) for column in ("sentence1", "sentence2"))
        points[dtype] = spearman(cosine(first, second), pairs["score"]).value
    return {"pairs": "STS-B dev" if shared and file.exists() else "built-in", "rows": len(pairs), "points": points}


def with_bound(rows: list[dict[str, Any]], folder: Path, peak: dict[str, float]) -> None:
    """Beside each rate, the share of the matrix-product peak that the linear layers alone use up."""
    layers = SentenceTransformer.from_pretrained(folder).backbone.encoder.encoder
    flops = 2 * sum(module.weight.numel() for module in layers.modules() if isinstance(module, torch.nn.Linear))
    for row in rows:
        if row["way"].startswith("stlib") and "plain" not in row["way"]:
            rate = row["texts_a_second"] * row["tokens_a_text"] * flops / 1e9
            row["share_of_peak"] = rate / peak["bfloat16" if "bfloat16" in row["way"] else "float32"]


def cost_curves(folder: Path, repeats: int) -> dict[str, list[dict[str, float]]]:
    """Seconds against text length, corpus size and model size, float32."""
    encoder = SentenceEncoder(folder, truncation="ignore", device="cpu", max_length=512)
    sentences = next(iter(corpora().values()))
    lengths = {
        size: [" ".join(["river"] * (size - 2))] * max(1, 4096 // size) for size in (8, 16, 32, 64, 128, 256, 512)
    }
    spent = alternate(
        {str(size): lambda texts=texts: encoder.encode(texts) for size, texts in lengths.items()}, repeats
    )
    by_length = [
        {"tokens": size, "seconds_a_token": float(np.median(spent[str(size)])) / (size * len(texts))}
        for size, texts in lengths.items()
    ]
    sizes = {size: (sentences * (size // len(sentences) + 1))[:size] for size in (100, 300, 1000, 3000)}
    spent = alternate({str(size): lambda texts=texts: encoder.encode(texts) for size, texts in sizes.items()}, repeats)
    by_corpus = [{"texts": size, "seconds": float(np.median(spent[str(size)]))} for size in sizes]
    by_model, texts = [], sentences[:200]
    models = {}
    for layers, width in ((3, 384), (6, 384), (12, 384), (6, 768), (12, 768)):
        config = BertConfig(
            num_hidden_layers=layers, hidden_size=width, num_attention_heads=width // 32, intermediate_size=4 * width
        )
        backbone = Backbone(BertModel(config).eval(), pad_id=0)
        models[layers, width] = SentenceEncoder(
            SentenceTransformer(backbone, encoder.tokenizer, max_length=256).eval(), device="cpu"
        )
    spent = alternate({f"{key}": lambda model=model: model.encode(texts) for key, model in models.items()}, repeats)
    for (layers, width), model in models.items():
        weights = sum(weight.numel() for weight in model.model.backbone.encoder.encoder.parameters())
        by_model.append(
            {
                "layers": layers,
                "width": width,
                "layer_parameters": weights,
                "seconds": float(np.median(spent[f"{(layers, width)}"])),
            }
        )
    return {"text_length": by_length, "corpus_size": by_corpus, "model_size": by_model}


def matrix_peak(dtype: torch.dtype) -> float:
    """GFLOP/s of packed products in MiniLM's own shapes, the bound on everything above."""
    from stlib.fast import Packed, _operators_work

    if not _operators_work(dtype, "cpu"):
        return float("nan")
    flops = spent = 0.0
    for inputs, outputs in ((384, 1152), (384, 384), (384, 1536), (1536, 384)):
        packed, states = Packed(torch.randn(outputs, inputs, dtype=dtype), None), torch.randn(2048, inputs, dtype=dtype)
        runs = alternate({"": lambda packed=packed, states=states: packed(states)}, 40)[""]
        flops, spent = flops + 2 * 2048 * inputs * outputs, spent + float(np.percentile(runs, 25))
    return flops / spent / 1e9


_FIRST = {
    "stlib": "from stlib import SentenceEncoder; SentenceEncoder({!r}).encode('first')",
    "sentence-transformers": "from sentence_transformers import SentenceTransformer as S; S({!r}).encode('first')",
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


def first_vector(folder: Path, repeats: int) -> dict[str, float]:
    """Seconds from the start of a process to its first vector."""
    calls = {
        name: lambda code=code: subprocess.run(
            [sys.executable, "-c", code.format(str(folder))], check=True, capture_output=True
        )
        for name, code in _FIRST.items()
    }
    seconds = alternate(calls, repeats)
    ours, theirs = np.array(seconds["stlib"]), np.array(seconds["sentence-transformers"])
    return {
        "stlib": float(np.median(ours)),
        "sentence_transformers": float(np.median(theirs)),
        "ratio": float(np.median(ours / theirs)),
    }


def memory(folder: Path, sizes: tuple[int, ...]) -> list[dict[str, float]]:
    """Peak memory of a process that encodes n sentences: what encoding adds, beside the size of the vectors."""
    sentences, rows = next(iter(corpora().values())), []
    file = ROOT / "build" / "texts.txt"
    file.parent.mkdir(exist_ok=True)
    for size in sizes:
        file.write_text("\n".join(itertools.islice(itertools.cycle(sentences), size)), encoding="utf-8")
        run = subprocess.run(
            [sys.executable, "-c", _MEMORY.format(str(folder), str(file))], check=True, capture_output=True, text=True
        )
        count, before, peak = map(int, run.stdout.split())
        rows.append(
            {
                "texts": count,
                "added_mb": (peak - before) / 1024,
                "vectors_mb": count * 384 * 4 / 2**20,
                "peak_mb": peak / 1024,
            }
        )
        print(rows[-1], flush=True)
    file.unlink()
    return rows


def machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "system": platform.system(), "load_before": os.getloadavg()[0],
        "packages": {name: version(name) for name in ("torch", "transformers", "sentence-transformers", "stlib")},
        "date": datetime.date.today().isoformat(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="throughput alone, and nothing written")
    parser.add_argument("--only", nargs="*", default=[], help="measure these parts of OUT again, such as memory")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "speed.json")
    options = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    folder = SentenceTransformer.from_pretrained(MODEL).folder
    assert folder is not None
    repeats, fewer = options.repeats, max(3, options.repeats // 2)
    results: dict[str, Any] = {"version": 1, "machine": machine(), "repeats": repeats}
    peak = {name: matrix_peak(getattr(torch, name)) for name in ("float32", "bfloat16")}
    results["matrix_peak_gflops"] = peak
    fresh = options.out.with_suffix(".new")
    if options.only:  # the rest stays as it was recorded
        results = json.loads(options.out.read_text(encoding="utf-8"))
        results.setdefault("measured_again", {}).update(
            {name: datetime.date.today().isoformat() for name in options.only}
        )
    else:
        results["throughput"] = throughput(folder, repeats)
        with_bound(results["throughput"], folder, peak)
    if options.quick:
        return
    for name, measure in {
        "first_vector_seconds": lambda: first_vector(folder, fewer),
        "quality": lambda: quality(folder),
        "by_threads": lambda: by_threads(folder, fewer),
        "by_setting": lambda: by_setting(folder, fewer),
        "cost": lambda: cost_curves(folder, fewer),
        "memory": lambda: memory(folder, (10_000, 100_000)),
    }.items():
        if options.only and name not in options.only:
            continue
        results[name] = measure()
        fresh.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        show(name, results[name])
    show("matrix_peak_gflops", peak)
    fresh.replace(options.out)


def show(name: str, measured: Any) -> None:
    """What was measured, as tables."""
    if isinstance(measured, dict) and all(isinstance(part, list) for part in measured.values()):
        for part, rows in measured.items():
            show(f"{name}, {part}", rows)
    elif isinstance(measured, list):
        print(f"\n{name}\n{pd.DataFrame(measured).to_string(index=False)}", flush=True)
    else:
        print(f"\n{name}\n{json.dumps(measured, indent=1)}", flush=True)


if __name__ == "__main__":
    main()
