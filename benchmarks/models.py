"""Speed of a pre-training step of our masked autoencoder, against transformers' ViTMAE and lightly's MAE.

A step is forward, backward and AdamW on normalised images that lie on the device. All contenders start from our
weights, get the same images and the same masks, and must give the same loss. Each runs as its users run it: the others
as their documentation shows, with the AdamW that torch gives when nothing is asked for; ours with `fused=True`, as
`abaw.training.optimisation` makes it. All run in one precision: bf16 autocast where the device multiplies matrices of
bf16 in hardware (GPUs, processors with AMX); on processors float32 too, or alone. They take turns, and a figure is the
median over the rounds: what else the machine does meets all of them.

The others are not among our dependencies; install them beside them, in a folder of their own:

    pip install --no-deps --target FOLDER "transformers>=5.23" "lightly>=1.6" "tokenizers>=0.23.1,<0.24"
    PYTHONPATH=FOLDER python benchmarks/models.py

It prints one line of JSON; `--write` also writes docs/models-speed-DEVICE.md. `--compile` adds ours under
torch.compile.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["KINETO_LOG_LEVEL"] = "5"

import torch
from account import Account, account, commit
from mae_contenders import Contender, Inputs, compiled, lightly_mae, ours, transformers_mae
from targets import Target, target
from torch.autograd import DeviceType
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from abaw.models.mae import MaeConfig, MaskedAutoencoder, random_masks
from abaw.models.vit import Size, VitConfig, unfuse_attention

OURS, COMPILED, HUGGING, LIGHTLY = "ours", "ours, torch.compile", "transformers", "lightly"
MATRIX = "products of large matrices"
GOALS = {"tiny": 1.0, "base": 1.2}
"""Least ratios, by encoder, in the best precision of the device; in another one, 1."""
SIDES = {"cpu": 2048, "cuda": 8192}
"""Of the square matrices whose product gives the machine's matrix rate."""
DOCS = Path(__file__).parents[1] / "docs"
KINDS = {  # of operations, by a part of their name
    "matrix products": ("aten::mm", "addmm", "aten::bmm"),
    "attention": ("scaled_dot_product", "_flash_attention", "_efficient_attention", "_cudnn_attention", "softmax"),
    "AdamW": ("_adamw", "Optimizer"),
    "layer norm": ("layer_norm",),
    "GELU": ("gelu",),
    "copies, gathers, fills": ("copy_", "cat", "index", "embedding", "fill_", "gather", "scatter"),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison: an encoder, images of a step, steps of a turn."""

    size: Size
    batch: int
    steps: int


CASES = {
    "cpu": [
        Case(size="tiny", batch=16, steps=1),
        Case(size="base", batch=8, steps=1),
        Case(size="base", batch=16, steps=1),
    ],
    "cuda": [
        Case(size="tiny", batch=256, steps=10),
        Case(size="base", batch=128, steps=10),
        Case(size="base", batch=512, steps=3),
    ],
}


def make(case: Case, device: str, *, bf16: bool, compile_too: bool) -> tuple[dict[str, Contender], Inputs]:
    """The contenders with equal weights, and the inputs of every step."""
    torch.manual_seed(0)
    config = MaeConfig(encoder=VitConfig(size=case.size), loss="l2")
    network = MaskedAutoencoder(config).to(device)
    contenders = {OURS: ours(network), HUGGING: transformers_mae(network), LIGHTLY: lightly_mae(network)}
    if compile_too:
        contenders[COMPILED] = compiled(network)
    for name, contender in contenders.items():
        contender.network.to(device)
        contender.bf16 = bf16
        if device == "cpu" and bf16 and name in (OURS, COMPILED):
            unfuse_attention(contender.network)  # as `abaw.training.steps` does
    keep_BK, masked_BM = random_masks(case.batch, 196, config.mask_ratio, torch.Generator().manual_seed(0))
    images = torch.randn(case.batch, 3, 224, 224, device=device)
    return contenders, Inputs(images=images, keep_BK=keep_BK.to(device), masked_BM=masked_BM.to(device))


def agreeing_loss(contenders: dict[str, Contender], inputs: Inputs) -> tuple[float, float]:
    """Our loss, and the largest relative difference of another one's, all in float32."""
    with torch.no_grad():
        losses = {name: contender.loss(inputs).item() for name, contender in contenders.items()}
    gap = max(abs(loss / losses[OURS] - 1) for loss in losses.values())
    assert gap <= 1e-5, f"the losses differ: {losses}"
    return losses[OURS], gap


def seconds(work: Callable[[], object], device: str) -> float:
    """How long the work takes, with all that it leaves to the device."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def matrix_product(device: str, *, bf16: bool) -> Callable[[], object]:
    """One product of two square matrices, in the precision of the steps."""
    one, other = torch.randn(2, SIDES[device], SIDES[device], device=device)
    if bf16:
        one, other = one.bfloat16(), other.bfloat16()
    return lambda: one @ other


def flops(contender: Contender, inputs: Inputs) -> float:
    """Of the matrix products of a step, attention among them; counted on one image."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        contender.loss(inputs.first()).backward()
    contender.optimiser.zero_grad()
    return float(counter.get_total_flops() * len(inputs.images))


def kinds_of_time(contender: Contender, inputs: Inputs, device: str) -> dict[str, float]:
    """Share of a step's time that each kind of operation takes itself, the most first."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=activities) as profiled:
        contender.step(inputs)
    spent = dict.fromkeys([*KINDS, "all else"], 0.0)
    for event in profiled.key_averages():
        if event.device_type != DeviceType.CPU:
            continue  # kernels, whose time the operation that launched them has too
        kind = next((kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)), "all else")
        spent[kind] += event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
    total = sum(spent.values())
    return {kind: round(time / total, 3) for kind, time in sorted(spent.items(), key=lambda item: -item[1])}


def measure(case: Case, device: str, rounds: int, *, bf16: bool, compile_too: bool) -> dict[str, Any]:
    """All figures of one case."""
    contenders, inputs = make(case, device, bf16=bf16, compile_too=compile_too)
    loss, gap = agreeing_loss({name: one for name, one in contenders.items() if name != COMPILED}, inputs)
    work = {name: flops(one, inputs) for name, one in contenders.items() if name != COMPILED}
    turns = {name: turn(one, inputs, case.steps) for name, one in contenders.items()}
    turns[MATRIX] = matrix_product(device, bf16=bf16)
    for first in (*turns.values(), *turns.values()):
        first()
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds):
        order = list(turns)[number % len(turns) :] + list(turns)[: number % len(turns)]
        for name in order:
            taken[name].append(seconds(turns[name], device))
    step = {name: statistics.median(taken[name]) / case.steps for name in contenders}
    rate = 2 * SIDES[device] ** 3 / statistics.median(taken[MATRIX])
    return {
        "size": case.size,
        "precision": "bf16 autocast" if bf16 else "float32",
        "batch": case.batch,
        "loss": round(loss, 6),
        "largest relative difference of a loss": gap,
        "images/s": {name: round(case.batch / one, 2) for name, one in step.items()},
        "ours, as a multiple of it": {
            name: spread(taken[name], taken[OURS]) for name in contenders if name not in (OURS, COMPILED)
        },
        "compiled, as a multiple of ours": spread(taken[OURS], taken[COMPILED]) if compile_too else None,
        "GFLOP of a step": {name: round(count / 1e9, 1) for name, count in work.items()},
        "matrix rate, GFLOP/s": round(rate / 1e9, 1),
        "floor, share of our step": round(work[OURS] / rate / step[OURS], 3),
        "shares of our step": kinds_of_time(contenders[OURS], inputs, device),
    }


def targets(cases: list[dict[str, Any]]) -> list[Target]:
    """Ours against each of the others; the first case is in the best precision."""
    return [
        target(
            f"step of {named(case)}, against {name}",
            ratio[0],
            rounds=ratio,
            least=GOALS[case["size"]] if case["precision"] == cases[0]["precision"] else 1.0,
        )
        for case in cases
        for name, ratio in case["ours, as a multiple of it"].items()
    ]


def named(case: dict[str, Any]) -> str:
    """The case in words."""
    return f"ViT-{case['size'].title()}, batch {case['batch']}, {case['precision']}"


def accounts(cases: list[dict[str, Any]]) -> list[Account]:
    """Where our step goes, against the matrix products alone."""
    return [
        account(
            f"step of {named(case)}",
            case["shares of our step"],
            limit=f"matrix products, {case['matrix rate, GFLOP/s']:,.0f} GFLOP/s",
            limit_s=case["floor, share of our step"],
        )
        for case in cases
    ]


def turn(contender: Contender, inputs: Inputs, steps: int) -> Callable[[], None]:
    def take() -> None:
        for _ in range(steps):
            contender.step(inputs)

    return take


def spread(theirs: list[float], ours: list[float]) -> list[float]:
    """Median, least and most of the ratios of the rounds."""
    ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
    return [round(value, 3) for value in (statistics.median(ratios), min(ratios), max(ratios))]


def machine(device: str) -> str:
    """The processor, in words."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
    return f"{torch.get_num_threads()} cores of {name}, {torch.backends.cpu.get_cpu_capability()}"


def page(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "# Speed of pre-training",
        "",
        f"Written by `{figures['command']}` at commit {figures['commit']}, on {figures['machine']}.",
        "A step of the masked autoencoder: forward, backward and AdamW, images of 224x224,",
        "mask ratio 0.75. Equal weights, images and masks; losses agree to 1e-5. Each runs as its users run it: the",
        "others with the AdamW that torch gives when nothing is asked for, ours with the fused one of our training.",
        f"{figures['rounds']} rounds, in which contenders take turns.",
        "",
        "| case | contender | images/s, median | ours / it, median (least to most) | GFLOP of a step |",
        "|---|---|---:|---:|---:|",
    ]
    for case in figures["cases"]:
        for name, rate in case["images/s"].items():
            ratio = case["ours, as a multiple of it"].get(name)
            shown = f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})" if ratio else ""
            work = case["GFLOP of a step"].get(name, case["GFLOP of a step"][OURS])
            lines.append(f"| {named(case)} | {name} | {rate:,} | {shown} | {work:,} |")
    lines += ["", "## Where our step goes", ""]
    lines += ["The floor is the time that the matrix products alone would take, at the rate that this machine reached"]
    side = f"{figures['side']} x {figures['side']}"
    best = figures["cases"][0]["precision"]
    lines += [
        f"in the same rounds on matrices of {side}. The goals: {GOALS['base']} at ViT-Base in {best}, 1 elsewhere.",
        "",
    ]
    kinds = list(figures["cases"][-1]["shares of our step"])
    lines += [f"| case | matrix rate, GFLOP/s | floor / our step | {' | '.join(kinds)} |"]
    lines += ["|---|---:|---:|" + "---:|" * len(kinds)]
    for case in figures["cases"]:
        shares = " | ".join(f"{100 * case['shares of our step'][kind]:.1f} %" for kind in kinds)
        floor, rate = f"{100 * case['floor, share of our step']:.0f} %", case["matrix rate, GFLOP/s"]
        lines.append(f"| {named(case)} | {rate} | {floor} | {shares} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", nargs="+", choices=["bf16", "float32"], help="of all contenders")
    parser.add_argument("--sizes", nargs="+", choices=["tiny", "base"], default=["tiny", "base"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="time ours under torch.compile too")
    parser.add_argument("--write", action="store_true", help="write docs/models-speed-DEVICE.md")
    arguments = parser.parse_args()
    if absent := [name for name in (HUGGING, LIGHTLY) if importlib.util.find_spec(name) is None]:
        sys.exit(f"{' and '.join(absent)} cannot be imported. Install them as the head of {__file__} says.")
    units = arguments.device == "cuda" or torch.cpu._is_amx_tile_supported()
    precisions = arguments.precision or ["bf16"] * units + ["float32"] * (arguments.device == "cpu")
    cases = [case for case in CASES[arguments.device] if case.size in arguments.sizes]
    figures = {
        "command": f"python benchmarks/models.py {' '.join(sys.argv[1:])}",
        "machine": machine(arguments.device),
        "rounds": arguments.rounds,
        "side": SIDES[arguments.device],
        "commit": commit(),
        "cases": [
            measure(case, arguments.device, arguments.rounds, bf16=name == "bf16", compile_too=arguments.compile)
            for name in precisions
            for case in cases
        ],
    }
    print(json.dumps(figures | {"targets": targets(figures["cases"]), "accounts": accounts(figures["cases"])}))
    if arguments.write:
        (DOCS / f"models-speed-{arguments.device}.md").write_text(page(figures))


if __name__ == "__main__":
    main()
