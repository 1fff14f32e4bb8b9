# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Weights that oscillate during quantization-aware training, and two remedies.

The toy problem of Nagel et al. (ICML 2022): each quantized weight q(w) is to come close
to a target w* that is no level of its grid. The straight-through gradient q(w) - w*
depends only on the level, so it pushes the latent weight back and forth over the
threshold between two levels forever. Dampening pulls latent weights to their levels;
freezing stops those that oscillate often at the level where they spend most of the time.

Everything but the loop runs in compiled qtx operations: one call is one training step.
"""

import numpy as np
import qtx

WEIGHTS, BITS, SCALE = 64, 3, 0.25
STEPS, RATE, MOMENTUM = 1200, 0.02, 0.02
LAST = 200  # oscillation is counted over this many steps at the end

W, MASK, CODES = (f"tensor<{WEIGHTS}x{kind}>" for kind in ("f32", "i1", "i32"))
STATE = [CODES, f"tensor<{WEIGHTS}xi8>", W, W, MASK, CODES, "tensor<i1>", "tensor<i1>"]

# Freezing threshold and dampening weight; both start to act after a quarter of the steps.
RECIPES = {
    "plain": ("from 0.0 to 0.0", "from 0.0 to 0.0"),
    "dampening": ("from 0.0 to 0.0", "from 0.0 to 1.0"),
    "freezing": ("from 1.0 to 0.03", "from 0.0 to 0.0"),
}


def make_ir(threshold, dampening):
    """One training step: latent weights and detector state in, the same out."""
    names = [f"%s{k}" for k in range(len(STATE))]
    arguments = ", ".join(f"{n}: {t}" for n, t in zip(names, STATE))
    results = ", ".join([W, CODES, MASK, *STATE])
    return f"""
      func.func @step(%t: tensor<i64>, %w: {W}, %target: {W}, {arguments}) -> ({results}) {{
        %scale = arith.constant dense<{SCALE}> : tensor<1xf32>
        %rate = arith.constant dense<{RATE}> : {W}
        %momentum = arith.constant dense<{MOMENTUM}> : tensor<f32>
        %threshold = qtx.cosine_schedule %t {threshold} steps {STEPS} zero_before : tensor<i64>
        %lambda = qtx.cosine_schedule %t {dampening} steps {STEPS} : tensor<i64>

        // Forward and backward of 0.5 * (q(w) - w*)^2.
        %q, %codes = qtx.fake_quantize %w scale(%scale) frozen({names[4]}, {names[5]})
            bits {BITS} signed : {W}, tensor<1xf32>
        %gq = arith.subf %q, %target : {W}
        %gw, %gs = qtx.fake_quantize_backward %gq, %w scale(%scale)
            frozen({names[4]}, {names[5]}) bits {BITS} signed : {W}, tensor<1xf32>

        // The detector observes the integers of this step.
        %r:10 = qtx.oscillation_update %codes state({", ".join(names)})
            momentum(%momentum) threshold(%threshold) : {CODES}

        // The loss of dampening comes after the tracked forward: it sees the new mask.
        %gd, %gds = qtx.dampening_loss_backward %lambda, %w scale(%scale)
            frozen(%r#6, %r#7) bits {BITS} signed reduction sum : {W}, tensor<1xf32>

        %g = arith.addf %gw, %gd : {W}
        %move = arith.mulf %rate, %g : {W}
        %new = arith.subf %w, %move : {W}
        return %new, %codes, %r#1, {", ".join(f"%r#{k}" for k in range(2, 10))} : {results}
      }}"""


def initial_state():
    """The detector starts from zeros."""
    kinds = [np.int32, np.int8, np.float32, np.float32, bool, np.int32]
    return [np.zeros(WEIGHTS, kind) for kind in kinds] + [np.zeros((), bool)] * 2


def train(recipe):
    """Trains; returns targets, final integers, changes at the end, and the frozen mask."""
    rng = np.random.default_rng(0)
    target = rng.uniform(-0.9, 0.7, WEIGHTS).astype(np.float32)
    w = rng.uniform(-0.9, 0.7, WEIGHTS).astype(np.float32)
    module = qtx.compile_ir(make_ir(*RECIPES[recipe]))
    state, codes, changes = initial_state(), None, np.zeros(WEIGHTS, int)
    for step in range(1, STEPS + 1):
        before = codes
        w, codes, _, *state = module.run("step", np.int64(step), w, target, *state)
        if step > STEPS - LAST:
            changes += codes != before
    return target, codes, changes, state[4]


def main():
    print(f"{'':10} {'changing':>8} {'changes':>8} {'frozen':>7} {'nearest level':>14}")
    for recipe in RECIPES:
        target, codes, changes, frozen = train(recipe)
        nearest = np.mean(codes == np.rint(target / np.float32(SCALE)))
        print(f"{recipe:10} {np.count_nonzero(changes):8} {changes.sum():8} "
              f"{np.count_nonzero(frozen):7} {nearest:14.0%}")
    print(f"weights whose integer changes in the last {LAST} steps, how often, how many are "
          "frozen,\nand how many end at the level nearest to their target")


if __name__ == "__main__":
    main()
