#!/usr/bin/env python3
"""Times the OpenBLAS inside numpy on the products of a linear layer, for benches/gemm.rs, which starts this and asks.

Reads lines of `KIND TOKENS INPUTS OUTPUTS SECONDS` and answers each with the least time of a product in seconds, from runs
within so many seconds. KIND is `forward` (y = x w^T), `d_x` (d_y w) or `d_w` (d_y^T x). OPENBLAS_NUM_THREADS says on how many
threads; one is timed in processor time. The first line that is printed names the library.
"""

import os
import sys
import time

import numpy


def products(tokens, inputs, outputs):
    random = numpy.random.default_rng(1)
    x, w, d_y = (random.standard_normal(shape, numpy.float32) for shape in [(tokens, inputs), (outputs, inputs), (tokens, outputs)])
    y, d_x, d_w = (numpy.zeros(shape, numpy.float32) for shape in [(tokens, outputs), (tokens, inputs), (outputs, inputs)])
    return {
        "forward": lambda: numpy.matmul(x, w.T, out=y),
        "d_x": lambda: numpy.matmul(d_y, w, out=d_x),
        "d_w": lambda: numpy.matmul(d_y.T, x, out=d_w),
    }


blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
print(f"{blas['name']} {blas['version']} in numpy {numpy.__version__}", flush=True)
clock = time.thread_time if os.environ.get("OPENBLAS_NUM_THREADS") == "1" else time.perf_counter
shape, made = None, None
for line in sys.stdin:
    kind, *numbers, seconds = line.split()
    asked = tuple(map(int, numbers))
    if asked != shape:
        shape, made = asked, products(*asked)
    run, least, begin = made[kind], float("inf"), time.perf_counter()
    while time.perf_counter() - begin < float(seconds) or least == float("inf"):
        start = clock()
        run()
        least = min(least, clock() - start)
    print(least, flush=True)
