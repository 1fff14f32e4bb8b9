//===- TrainingOps.td - Training operations ----------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_TRAININGOPS
#define QTX_DIALECT_QTX_IR_TRAININGOPS

include "qtx/Dialect/Qtx/IR/QtxOpBase.td"

//===----------------------------------------------------------------------===//
// Types and arguments shared by the family
//===----------------------------------------------------------------------===//

def Qtx_F32Scalar : 0DTensorOf<[F32]>;
def Qtx_I64Scalar : 0DTensorOf<[I64]>;
def Qtx_BoolScalar : 0DTensorOf<[I1]>;
def Qtx_I8Tensor : RankedTensorOf<[I8]>;
def Qtx_F32Vector : 1DTensorOf<[F32]>;

// The type of `other` is that of the tensor `of` with another element type.
class Qtx_SameShape<string of, string other, string elementType>
    : TypesMatchWith<"'" # other # "' is a tensor of " # elementType # " of the shape of '" # of # "'",
        of, other, "::qtx::getTypeLike($_self, \"" # elementType # "\")">;
class Qtx_OptionalSameShape<string of, string other, string elementType>
    : OptionalTypesMatchWith<"'" # other # "' is a tensor of " # elementType # " of the shape of '" # of # "'",
        of, other, "::qtx::getTypeLike($_self, \"" # elementType # "\")">;
// A tensor of rank 0; `of` is any other value.
class Qtx_Scalar<string of, string scalar, string elementType>
    : TypesMatchWith<"'" # scalar # "' is a tensor of rank 0 of " # elementType,
        of, scalar, "::qtx::getScalarTypeLike($_self, \"" # elementType # "\")">;

// What a fake quantizer rounds to, without its scale.
defvar gridAttributes = (ins I64Attr:$bits,
                             Qtx_GridAttr:$grid,
                             OptionalAttr<I64Attr>:$axis);

// Latent values, quantizer parameters, frozen entries.
defvar latentOperands = (ins Qtx_F32Tensor:$x,
                             Qtx_F32Vector:$scale,
                             Optional<Qtx_F32Vector>:$zero_point,
                             Optional<Qtx_BoolTensor>:$frozen,
                             Optional<Qtx_I32Tensor>:$frozen_int,
                             Optional<Qtx_F32Tensor>:$noise);

class Qtx_FakeQuantizerOp<string mnemonic, list<Trait> traits>
    : Qtx_Op<mnemonic, !listconcat([AttrSizedOperandSegments], traits, [
        OptionalTypesMatchWith<"'zero_point' has the type of 'scale'", "scale", "zero_point", "$_self">,
        Qtx_OptionalSameShape<"x", "frozen", "i1">,
        Qtx_OptionalSameShape<"x", "frozen_int", "i32">,
        Qtx_OptionalSameShape<"x", "noise", "f32">])> {
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// Fake quantization
//===----------------------------------------------------------------------===//

def Qtx_FakeQuantizeOp : Qtx_FakeQuantizerOp<"fake_quantize", [
    AllTypesMatch<["x", "y"]>, Qtx_SameShape<"x", "codes", "i32">]> {
  let summary = "round to an integer grid and back, with a declared surrogate gradient";
  let description = [{
    The quantizer of training (Numerics.md, "Fake quantization"; Nagel et al. 2022,
    section 2): with the effective scale `s = max(scale, 1e-8)`,

    ```
    codes = clamp(roundeven(x / s) + z, n, p)         y = s * (codes - z)
    ```

    | `grid` of `b` bits | n | p | z |
    |---|---|---|---|
    | `signed` | -2^(b-1) | 2^(b-1) - 1 | 0 |
    | `unsigned` | 0 | 2^b - 1 | 0 |
    | `asymmetric` | 0 | 2^b - 1 | clamp(roundeven(zero_point), n, p) |

    | operand | shape | element type |
    |---|---|---|
    | `x` | any | f32 |
    | `scale` | `[1]`, or `[C]` with C the size of dimension `axis` | f32 |
    | `zero_point` | that of `scale`; `asymmetric` only | f32 |
    | `frozen`, `frozen_int` | that of `x` | i1, i32 |
    | `noise` | that of `x` | f32 in [0, 1) |

    Where `frozen` is set, the code is `frozen_int`. With `noise`, rounding is
    stochastic: `floor(x / s + noise)`. A negative `axis` counts from the last
    dimension. `bits` is in [2, 16]. A constant scale has to be positive.

    The surrogate gradient is used by `qtx.fake_quantize_backward`, which describes it.

    Example:

    ```mlir
    %y, %codes = qtx.fake_quantize %w scale(%s) frozen(%mask, %ints) bits 4 signed axis 0
        surrogate ewgs parameter 0.2 : tensor<4x8xf32>, tensor<4xf32>
    %a, %a_codes = qtx.fake_quantize %x scale(%sx) zero_point(%zx) bits 8 asymmetric
        : tensor<?x8xf32>, tensor<1xf32>
    ```
  }];
  let arguments = !con(latentOperands, gridAttributes,
      (ins DefaultValuedAttr<Qtx_SurrogateAttr, "::qtx::Surrogate::Ste">:$surrogate,
           OptionalAttr<F32Attr>:$surrogate_parameter));
  let results = (outs Qtx_F32Tensor:$y, Qtx_I32Tensor:$codes);
  let assemblyFormat = [{
    $x `scale` `(` $scale `)` (`zero_point` `(` $zero_point^ `)`)?
    (`frozen` `(` $frozen^ `,` $frozen_int `)`)? (`noise` `(` $noise^ `)`)?
    `bits` $bits $grid (`axis` $axis^)?
    (`surrogate` $surrogate^)? (`parameter` $surrogate_parameter^)?
    attr-dict `:` type($x) `,` type($scale)
  }];
}

def Qtx_FakeQuantizeBackwardOp : Qtx_FakeQuantizerOp<"fake_quantize_backward", [
    AllTypesMatch<["x", "grad_y"]>, InferTypeOpAdaptor]> {
  let summary = "gradient of qtx.fake_quantize";
  let description = [{
    Gradients of `x`, `scale` and, for the asymmetric grid, `zero_point`, given that
    of `y` (Numerics.md, "Gradients of fake quantization"). With `v = x / s`, `r` the
    rounded `v`, `c = clamp(r + z, n, p) - z` and the surrogate's mask `m` and factor
    `k`:

    ```
    grad_x          = grad_y * k * m
    grad_scale      = g * sum grad_y * (c - k * v * m)
    grad_zero_point = g * sum grad_y * -s * (1 - m)
    ```

    | `surrogate` | m | k | parameter |
    |---|---|---|---|
    | `ste` | n <= r + z <= p | 1 | |
    | `ste_paper` | n <= v + z <= p | 1 | |
    | `ewgs` | as `ste` | 1 + delta * sign(grad_y) * (v - r) | delta, 0.2 |
    | `stacked_sigmoid` | as `ste` | derivative of a sigmoid between two levels | alpha, 1.0 |

    The bounds belong to the mask. The sums run over all elements of `x` that share the
    scale. The gradient of the scale is that of LSQ; `grad_scaling` multiplies it and
    that of the zero point with `g = 1 / sqrt(p * N)`, N the number of those elements;
    otherwise g is 1. Frozen entries pass nothing to `x` and `frozen_int - z` to
    `scale`. A scale below 1e-8 and a zero point that rounds outside the grid get no
    gradient.

    Example:

    ```mlir
    %gw, %gs = qtx.fake_quantize_backward %g, %w scale(%s) bits 4 signed axis 0 grad_scaling
        : tensor<4x8xf32>, tensor<4xf32>
    %gx, %gsx, %gzx = qtx.fake_quantize_backward %h, %x scale(%sx) zero_point(%zx)
        bits 8 asymmetric : tensor<?x8xf32>, tensor<1xf32>
    ```
  }];
  let arguments = !con((ins Qtx_F32Tensor:$grad_y), latentOperands, gridAttributes,
      (ins DefaultValuedAttr<Qtx_SurrogateAttr, "::qtx::Surrogate::Ste">:$surrogate,
           OptionalAttr<F32Attr>:$surrogate_parameter,
           UnitAttr:$grad_scaling));
  let results = (outs Qtx_F32Tensor:$grad_x, Qtx_F32Vector:$grad_scale,
                      Optional<Qtx_F32Vector>:$grad_zero_point);
  let assemblyFormat = [{
    $grad_y `,` $x `scale` `(` $scale `)` (`zero_point` `(` $zero_point^ `)`)?
    (`frozen` `(` $frozen^ `,` $frozen_int `)`)? (`noise` `(` $noise^ `)`)?
    `bits` $bits $grid (`axis` $axis^)?
    (`surrogate` $surrogate^)? (`parameter` $surrogate_parameter^)?
    (`grad_scaling` $grad_scaling^)?
    attr-dict `:` type($x) `,` type($scale)
  }];
}

//===----------------------------------------------------------------------===//
// Oscillation
//===----------------------------------------------------------------------===//

def Qtx_OscillationUpdateOp : Qtx_Op<"oscillation_update", [
    AllTypesMatch<["codes", "prev_code", "frozen_int", "out", "new_prev_code", "new_frozen_int"]>,
    Qtx_SameShape<"codes", "prev_direction", "i8">,
    Qtx_SameShape<"codes", "frequency", "f32">,
    Qtx_SameShape<"codes", "smoothed", "f32">,
    Qtx_SameShape<"codes", "frozen", "i1">,
    Qtx_Scalar<"codes", "observed", "i1">,
    Qtx_Scalar<"codes", "tracking", "i1">,
    Qtx_Scalar<"codes", "momentum", "f32">,
    Qtx_Scalar<"codes", "threshold", "f32">,
    Qtx_SameShape<"codes", "oscillated", "i1">,
    Qtx_SameShape<"codes", "new_prev_direction", "i8">,
    Qtx_SameShape<"codes", "new_frequency", "f32">,
    Qtx_SameShape<"codes", "new_smoothed", "f32">,
    Qtx_SameShape<"codes", "new_frozen", "i1">,
    Qtx_Scalar<"codes", "new_observed", "i1">,
    Qtx_Scalar<"codes", "new_tracking", "i1">]> {
  let summary = "one step of the oscillation detector of every weight";
  let description = [{
    Observes the integer weights of one optimiser step, detects the weights that
    change back, and freezes those that do so too often (Numerics.md, "Oscillation";
    Nagel et al. 2022, algorithm 1). It is to run once per optimiser step, never in
    evaluation.

    | state | shape | element type | meaning |
    |---|---|---|---|
    | `prev_code` | that of `codes` | i32 | integer of the last step |
    | `prev_direction` | that of `codes` | i8 | sign of the last change, 0 before the first |
    | `frequency` | that of `codes` | f32 | moving average of the oscillations |
    | `smoothed` | that of `codes` | f32 | moving average of the integers |
    | `frozen`, `frozen_int` | that of `codes` | i1, i32 | frozen weights and their integers |
    | `observed` | rank 0 | i1 | whether a step was observed |
    | `tracking` | rank 0 | i1 | whether `smoothed` has started |

    The initial state is zero everywhere. With `m` = `momentum` and `t` = `threshold`,
    which are run-time values so that schedules can change them:

    ```
    x = frozen ? frozen_int : codes                        (the result 'out')
    if not observed: prev_code = x
    if t > 0 and not tracking: smoothed = x
    d = sign(x - prev_code)
    oscillated = d != 0 and d == -prev_direction
    frequency = m * oscillated + (1 - m) * frequency
    if d != 0: prev_direction = d
    prev_code = x
    if t > 0:
      where frequency > t: frozen_int = roundeven(smoothed), frozen = true
      smoothed = m * x + (1 - m) * smoothed
    ```

    Under `latch` (the default) an entry that is frozen keeps its integer;
    `reference_compat` writes `frozen_int` in every step in which the frequency exceeds
    the threshold, as the authors' code does. `use_ema_x_int = false` freezes to `x`
    instead of the smoothed integer. A constant momentum has to be in [0, 1], a
    constant threshold has to be a number that is not negative.

    Example:

    ```mlir
    %out, %osc, %prev1, %dir1, %f1, %psi1, %frozen1, %int1, %obs1, %track1 =
        qtx.oscillation_update %codes state(%prev, %dir, %f, %psi, %frozen, %int, %obs, %track)
        momentum(%m) threshold(%t) semantics latch : tensor<4x8xi32>
    ```
  }];
  let arguments = (ins Qtx_I32Tensor:$codes,
                       Qtx_I32Tensor:$prev_code,
                       Qtx_I8Tensor:$prev_direction,
                       Qtx_F32Tensor:$frequency,
                       Qtx_F32Tensor:$smoothed,
                       Qtx_BoolTensor:$frozen,
                       Qtx_I32Tensor:$frozen_int,
                       Qtx_BoolScalar:$observed,
                       Qtx_BoolScalar:$tracking,
                       Qtx_F32Scalar:$momentum,
                       Qtx_F32Scalar:$threshold,
                       DefaultValuedAttr<Qtx_FreezeSemanticsAttr, "::qtx::FreezeSemantics::Latch">:$semantics,
                       DefaultValuedAttr<BoolAttr, "true">:$use_ema_x_int);
  let results = (outs Qtx_I32Tensor:$out,
                      Qtx_BoolTensor:$oscillated,
                      Qtx_I32Tensor:$new_prev_code,
                      Qtx_I8Tensor:$new_prev_direction,
                      Qtx_F32Tensor:$new_frequency,
                      Qtx_F32Tensor:$new_smoothed,
                      Qtx_BoolTensor:$new_frozen,
                      Qtx_I32Tensor:$new_frozen_int,
                      Qtx_BoolScalar:$new_observed,
                      Qtx_BoolScalar:$new_tracking);
  let assemblyFormat = [{
    $codes `state` `(` $prev_code `,` $prev_direction `,` $frequency `,` $smoothed `,`
    $frozen `,` $frozen_int `,` $observed `,` $tracking `)`
    `momentum` `(` $momentum `)` `threshold` `(` $threshold `)`
    (`semantics` $semantics^)? attr-dict `:` type($codes)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Dampening
//===----------------------------------------------------------------------===//

defvar dampeningOperands = (ins Qtx_F32Tensor:$x,
                                Qtx_F32Vector:$scale,
                                Optional<Qtx_BoolTensor>:$frozen,
                                Optional<Qtx_I32Tensor>:$frozen_int);

class Qtx_DampeningOp<string mnemonic, list<Trait> traits>
    : Qtx_Op<mnemonic, !listconcat([AttrSizedOperandSegments], traits, [
        Qtx_OptionalSameShape<"x", "frozen", "i1">,
        Qtx_OptionalSameShape<"x", "frozen_int", "i32">])> {
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Qtx_DampeningLossOp : Qtx_DampeningOp<"dampening_loss", [
    Qtx_Scalar<"x", "loss", "f32">]> {
  let summary = "distance of latent weights from their grid points";
  let description = [{
    `loss = R((s * codes - clamp(x, s * n, s * p))^2)` with the grid, the effective
    scale `s` and the codes of `qtx.fake_quantize` (Numerics.md, "Dampening"; Nagel et
    al. 2022, section 4.1). Entries beyond the grid contribute nothing unless they are
    frozen. The grid is `signed` or `unsigned`.

    | `reduction` | R |
    |---|---|
    | `sum` | sum over all elements |
    | `mean` | the sum divided by the number of elements |
    | `kernel_mean` | the sum divided by the product of all dimensions but the first |

    `x` has rank 1 or more. To weight the loss, scale it.

    Example:

    ```mlir
    %loss = qtx.dampening_loss %w scale(%s) frozen(%mask, %ints) bits 4 signed
        reduction kernel_mean : tensor<4x8xf32>, tensor<1xf32>
    ```
  }];
  let arguments = !con(dampeningOperands, gridAttributes,
      (ins DefaultValuedAttr<Qtx_ReductionAttr, "::qtx::Reduction::KernelMean">:$reduction));
  let results = (outs Qtx_F32Scalar:$loss);
  let assemblyFormat = [{
    $x `scale` `(` $scale `)` (`frozen` `(` $frozen^ `,` $frozen_int `)`)?
    `bits` $bits $grid (`axis` $axis^)? (`reduction` $reduction^)?
    attr-dict `:` type($x) `,` type($scale)
  }];
}

def Qtx_DampeningLossBackwardOp : Qtx_DampeningOp<"dampening_loss_backward", [
    AllTypesMatch<["x", "grad_x"]>, AllTypesMatch<["scale", "grad_scale"]>,
    Qtx_Scalar<"x", "grad_loss", "f32">]> {
  let summary = "gradient of qtx.dampening_loss";
  let description = [{
    The grid point is a constant of the gradient, the clamp is not (Numerics.md,
    "Dampening"). With `e = clamp(x, s * n, s * p) - s * codes` and `k = 2 * grad_loss`
    over the divisor of the reduction:

    ```
    grad_x     = k * e  where s * n <= x <= s * p, else 0
    grad_scale = sum over x below: k * e * n, above: k * e * p
    ```

    Beyond the grid `e` is zero unless the entry is frozen. A scale below 1e-8 gets no
    gradient.

    Example:

    ```mlir
    %gw, %gs = qtx.dampening_loss_backward %g, %w scale(%s) bits 4 signed axis 0
        reduction sum : tensor<4x8xf32>, tensor<4xf32>
    ```
  }];
  let arguments = !con((ins Qtx_F32Scalar:$grad_loss), dampeningOperands, gridAttributes,
      (ins DefaultValuedAttr<Qtx_ReductionAttr, "::qtx::Reduction::KernelMean">:$reduction));
  let results = (outs Qtx_F32Tensor:$grad_x, Qtx_F32Vector:$grad_scale);
  let assemblyFormat = [{
    $grad_loss `,` $x `scale` `(` $scale `)` (`frozen` `(` $frozen^ `,` $frozen_int `)`)?
    `bits` $bits $grid (`axis` $axis^)? (`reduction` $reduction^)?
    attr-dict `:` type($x) `,` type($scale)
  }];
}

//===----------------------------------------------------------------------===//
// Schedules and attention
//===----------------------------------------------------------------------===//

def Qtx_CosineScheduleOp : Qtx_Op<"cosine_schedule", [
    Qtx_Scalar<"step", "value", "f32">]> {
  let summary = "a value that a cosine moves from one number to another";
  let description = [{
    The schedule of freezing thresholds and dampening weights (Numerics.md,
    "Schedules"; Nagel et al. 2022, section 4). With `t` = `step`, T = `steps` and
    t0 = `anneal_start` * T:

    ```
    value = b + 0.5 * (a - b) * (1 + cos(pi * min((t - t0) / (T - t0), 1)))   where t >= t0
    value = a, or 0 with 'zero_before'                                        where t < t0
    ```

    Steps count from 1, so step T has exactly the final value `b`. `zero_before` is the
    freezing threshold, which is off until t0. `steps` is positive, `anneal_start` in
    [0, 1), and `a` and `b` are finite.

    Example:

    ```mlir
    %threshold = qtx.cosine_schedule %step from 0.1 to 0.01 steps 1000 zero_before : tensor<i64>
    %lambda = qtx.cosine_schedule %step from 0.0 to 0.1 steps 1000 anneal_start 0.5 : tensor<i64>
    ```
  }];
  let arguments = (ins Qtx_I64Scalar:$step,
                       F32Attr:$start,
                       F32Attr:$end,
                       I64Attr:$steps,
                       DefaultValuedAttr<F32Attr, "0.25f">:$anneal_start,
                       UnitAttr:$zero_before);
  let results = (outs Qtx_F32Scalar:$value);
  let assemblyFormat = [{
    $step `from` $start `to` $end `steps` $steps (`anneal_start` $anneal_start^)?
    (`zero_before` $zero_before^)? attr-dict `:` type($step)
  }];
  let hasVerifier = 1;
}

def Qtx_ClippedSoftmaxBackwardOp : Qtx_Op<"clipped_softmax_backward", [
    AllTypesMatch<["grad_y", "p", "grad_x"]>]> {
  let summary = "gradient of the clipped softmax";
  let description = [{
    Gradient of the logits of `y = clamp((zeta - gamma) * p + gamma, 0, 1)`, `p` the
    softmax of the logits along the last axis (Numerics.md, "Gradient of the clipped
    softmax"; Bondarenko et al. 2023, eq. 4):

    ```
    g_j = (zeta - gamma) * grad_y_j  where 0 < (zeta - gamma) * p_j + gamma < 1, else 0
    D = sum_j p_j * g_j
    grad_x_j = p_j * (g_j - D)
    ```

    A clipped entry passes no gradient of its own, yet its logit gets one from the
    others. `p` are the probabilities before clipping: `qtx.softmax` of the logits.
    All tensors are f32 of rank 1 or more, of one shape; zeta >= 1 and gamma <= 0,
    both finite.

    Example:

    ```mlir
    %gx = qtx.clipped_softmax_backward %gy, %p clip [-0.03, 1.0] : tensor<?x4x?x?xf32>
    ```
  }];
  let arguments = (ins Qtx_F32Tensor:$grad_y,
                       Qtx_F32Tensor:$p,
                       F32Attr:$gamma,
                       F32Attr:$zeta);
  let results = (outs Qtx_F32Tensor:$grad_x);
  let assemblyFormat = [{
    $grad_y `,` $p `clip` ` ` `[` $gamma `,` $zeta `]` attr-dict `:` type($p)
  }];
  let hasVerifier = 1;
}

#endif // QTX_DIALECT_QTX_IR_TRAININGOPS
