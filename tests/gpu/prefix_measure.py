"""Log-probs, gradients, time and memory of each way, and what must hold between them."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from prefix_rows import Rows
from prefix_ways import Way, reference, ways

FACTOR = 1.5  # how much farther from float32 than stock a way may be
GIB = 2**30


@dataclass(frozen=True)
class Pass:
    """What one way gives for all rows."""

    log_probs: torch.Tensor  # (B, L - 1) float32
    gradients: list[torch.Tensor]  # of the parameters
    n_tokens: int  # that went through the model
    forward_ms: float  # without gradients, median
    both_ms: float  # forward and backward, median
    peak_gib: float | None  # of forward and backward, above what was there before; None on a CPU


@dataclass(frozen=True)
class Line:
    """One way in the table. Differences are in nats of an action's log-prob, from stock in float32."""

    way: str
    tokens: int
    forward_ms: float
    both_ms: float
    forward_speed: float  # stock's time per this one's
    both_speed: float
    peak_gib: float | None
    largest: float
    mean: float
    gradient: float  # 1 - cosine, from float32
    gradient_to_stock: float  # 1 - cosine, from stock in the model's own precision


def compare(model: Any, rows: Rows, n_rows: int, repeats: int) -> Iterator[tuple[Way, Line | str]]:
    """One line for each way, stock's first, for a model in half floats and micro-batches of ``n_rows`` rows.

    The model in float32 has the same, rounded weights. For a way that is only compared, an error may be its line.
    """
    exact = copy.deepcopy(model).float()
    truth = measure(exact, reference(rows, n_rows), rows, repeats=0)
    del exact
    stock = None
    for way in ways(rows, n_rows):
        try:
            found = measure(model, way, rows, repeats)
        except Exception as error:  # a kernel's compiler raises what it likes
            if not way.is_only_compared:
                raise
            sentence, *_ = str(error).strip().split("\n")
            yield way, f"{way.name}: {type(error).__name__}: {sentence}"
            continue
        stock = stock or found
        yield way, line_of(way.name, found, stock, truth, rows)


def measure(model: Any, way: Way, rows: Rows, repeats: int) -> Pass:
    """Run ``way`` once to warm up and then ``repeats`` times for the clock, without gradients and with them."""
    model.set_attn_implementation(way.attention)
    _, _, forward_ms, _ = timed(model, way, rows, False, repeats)
    log_probs, n_tokens, both_ms, peak = timed(model, way, rows, True, repeats)
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad(set_to_none=True)
    return Pass(log_probs, gradients, n_tokens, forward_ms, both_ms, peak)


def timed(
    model: Any, way: Way, rows: Rows, backward: bool, repeats: int
) -> tuple[torch.Tensor, int, float, float | None]:
    """Log-probs and tokens of the last pass, median milliseconds without the first pass, and the last one's peak."""
    on_gpu, milliseconds, peak = rows.sequences.is_cuda, [], None
    if on_gpu:
        torch.cuda.empty_cache()
    for _ in range(1 + repeats):
        model.zero_grad(set_to_none=True)
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            peak = -torch.cuda.memory_allocated() / GIB
        started = time.perf_counter()
        log_probs, n_tokens = one_pass(model, way, rows, backward)
        if on_gpu:
            torch.cuda.synchronize()
            peak += torch.cuda.max_memory_allocated() / GIB
        milliseconds.append(1000 * (time.perf_counter() - started))
    return log_probs, n_tokens, statistics.median(milliseconds[1:] or milliseconds), peak


def one_pass(model: Any, way: Way, rows: Rows, backward: bool) -> tuple[torch.Tensor, int]:
    """Log-probs (B, L - 1) of all micro-batches, and their tokens; gradients are added up where asked for."""
    log_probs, n_tokens = torch.zeros_like(rows.weights), 0
    for indices in way.batches:
        batch = rows.pick(indices)
        with torch.set_grad_enabled(backward):
            found, n = way.forward(model, batch)
        if backward:
            (found * batch.weights).sum().backward()
        log_probs[indices, : found.shape[1]] = found.detach()
        n_tokens += n
    return log_probs, n_tokens


def line_of(name: str, found: Pass, stock: Pass, truth: Pass, rows: Rows) -> Line:
    difference = (found.log_probs - truth.log_probs)[rows.actions].abs()
    return Line(
        way=name,
        tokens=found.n_tokens,
        forward_ms=found.forward_ms,
        both_ms=found.both_ms,
        forward_speed=stock.forward_ms / found.forward_ms,
        both_speed=stock.both_ms / found.both_ms,
        peak_gib=found.peak_gib,
        largest=difference.max().item(),
        mean=difference.mean().item(),
        gradient=1 - cosine(found.gradients, truth.gradients),
        gradient_to_stock=1 - cosine(found.gradients, stock.gradients),
    )


def cosine(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Of two gradients of all parameters, summed in float64."""
    dot, norm, other_norm = 0.0, 0.0, 0.0
    for x, y in zip(one, other, strict=True):
        x, y = x.double().flatten(), y.double().flatten()
        dot, norm, other_norm = dot + (x @ y).item(), norm + (x @ x).item(), other_norm + (y @ y).item()
    return dot / (norm * other_norm) ** 0.5


def assertions(lines: list[Line]) -> dict[str, bool]:
    """Each way against the first one: no farther from float32 than ``FACTOR`` times as far."""
    stock = lines[0]
    asked: dict[str, Callable[[Line], float]] = {
        "largest difference of a log-prob": lambda line: line.largest,
        "mean difference of the log-probs": lambda line: line.mean,
        "1 - cosine of the gradient": lambda line: line.gradient,
    }
    return {
        f"{line.way}: {what} from float32 is {value(line):.3g}, stock's {value(stock):.3g}": value(line)
        <= FACTOR * value(stock)
        for line in lines[1:]
        for what, value in asked.items()
    }
