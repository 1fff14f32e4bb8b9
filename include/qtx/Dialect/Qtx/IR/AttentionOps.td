//===- AttentionOps.td - Attention operations --------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_ATTENTIONOPS
#define QTX_DIALECT_QTX_IR_ATTENTIONOPS

include "mlir/Interfaces/TilingInterface.td"
include "qtx/Dialect/Qtx/IR/QtxOpBase.td"

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def Qtx_AttentionOp : Qtx_QuantizableOp<"attention", [
    AttrSizedOperandSegments, InferTypeOpAdaptorWithIsCompatible,
    DeclareOpInterfaceMethods<TilingInterface, [
      "getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
      "getResultTilePosition", "generateResultTileValue"]>]> {
  let summary = "attention with clipped softmax, sink, output gate and quantizers";
  let description = [{
    Attention in one operation. Its clauses are written in the order of the
    stages; all but `scale` are optional.

    | stage | clause | computes |
    |---|---|---|
    | scores | `scale` | `s = (q k^T) * scale` |
    | soft cap | `soft_cap` c | `s = c * tanh(s / c)` |
    | scores quantizer | `scores` type | `s = dequantize(quantize(s))` |
    | mask | `mask` | `s = s + mask`, or `-inf` where a boolean mask is false |
    | causal mask | `causal`, `offset` | `-inf` where key `j > i + offset` |
    | normaliser | `sink`, `sink_logit` | `p = exp(s - m) / (sum_j exp(s_j - m) [+ exp(sink - m)])`, `m` the row maximum |
    | clip | `clip [gamma, zeta]` | `p = clip((zeta - gamma) p + gamma, 0, 1)` |
    | probabilities quantizer | `probs` type | `p = quantize(p)` |
    | context | | `c = p v` |
    | context quantizer | `context` type | `c = dequantize(quantize(c))` |
    | gate | `gate`, `gain` | `c = c * (sigmoid(gate) * gain)` |
    | result | `to` type | `y = quantize(c)` |

    | operand | shape | element type |
    |---|---|---|
    | `query` | `[B, H, S, dk]` | f32, or quantized per tensor or in groups along axis -3 (per head) |
    | `key` | `[B, Hkv, T, dk]` | the same |
    | `value` | `[B, Hkv, T, dv]` | the same, or in groups along axis -1 (per channel) |
    | `mask` | `[B or 1, H or 1, S or 1, T]` | f32 (added) or i1 (true: the key takes part) |
    | `offset` | | index; `T - S` if absent |
    | `sink` | `[H]` | f32 |
    | `gate` | `[B, H, S]` or `[B, H, S, dv]` | f32 |
    | `y` | `[B, H, S, dv]` | f32, or quantized per tensor or in groups along axis -1 or -3 |

    `H` is a multiple of `Hkv`: query head `h` reads key and value head
    `h / (H / Hkv)`. B, S and T may be dynamic. The scores and probabilities
    quantizers are per tensor or per head, the context quantizer also per channel;
    their parameters are compile-time ones.

    The row sums of clipped probabilities are not 1 and nothing renormalises them:
    a causal row that attends evenly to many keys may clip to zeros. A row without
    any key that takes part yields zeros. `sink_logit 0.0` is "softmax plus one".

    `unnormalised` moves the division behind the contraction with `value`: the
    probabilities quantizer then sees `exp(s - m)`, whose range is 0 to 1. It
    excludes `clip`, which needs the final normaliser.

    Where `query` and `key` are both quantized, the scores accumulate exactly in int32;
    so does the context where `value` and the probabilities both are. The verifier
    bounds these accumulators; with a dynamic T the bound on T is the caller's.
    Everything else is fp32 (Numerics.md, "Attention").

    Tiling is over B, H, S and dv, on the storage form; the keys stay whole, since
    clipping needs the final normaliser. A tile has its part of the operands and of
    the parameters. Heads or channels with their own parameters are cut at places
    known at compile time only, and so are the heads that share a key head unless
    a tile is one head.

    Sources: clipped softmax and gates, Bondarenko et al. 2023, sections 4.1 and 4.2;
    probabilities and gates per element, per-head sinks and soft caps as in later
    models.

    Example:

    ```mlir
    %y = qtx.attention %q, %k, %v mask(%m) causal scale 0.125 clip [-0.03, 1.0]
        gate(%g) gain 2.0
        : (tensor<?x12x?x64xf32>, tensor<?x12x?x64xf32>, tensor<?x12x?x64xf32>,
           tensor<?x1x1x?xi1>, tensor<?x12x?xf32>) -> tensor<?x12x?x64xf32>
    %z = qtx.attention %qi as !quant.uniform<i8:f32, 0.05>,
        %ki as !qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.04:3, 0.06}>,
        %vi as !quant.uniform<i8:f32, 0.02:-5> scale 0.25 soft_cap 30.0
        scores !quant.uniform<i8:f32, 0.1> unnormalised
        probs !quant.uniform<u8:f32, 0.003921569> to !quant.uniform<i8:f32, 0.03>
        : (tensor<1x4x?x16xi8>, tensor<1x2x?x16xi8>, tensor<1x2x?x16xi8>)
        -> tensor<1x4x?x16xi8>
    ```
  }];
  let arguments = (ins Qtx_QuantizableTensor:$query,
                       Qtx_QuantizableTensor:$key,
                       Qtx_QuantizableTensor:$value,
                       Optional<Qtx_MaskTensor>:$mask,
                       Optional<Index>:$offset,
                       Optional<Qtx_F32Tensor>:$sink,
                       Optional<Qtx_F32Tensor>:$gate,
                       OptionalAttr<Qtx_QuantTypeAttr>:$query_quant,
                       OptionalAttr<Qtx_QuantTypeAttr>:$key_quant,
                       OptionalAttr<Qtx_QuantTypeAttr>:$value_quant,
                       UnitAttr:$causal,
                       F32Attr:$scale,
                       OptionalAttr<F32Attr>:$soft_cap,
                       OptionalAttr<Qtx_QuantTypeAttr>:$scores_quant,
                       OptionalAttr<F32Attr>:$sink_logit,
                       DefaultValuedAttr<F32Attr, "0.0f">:$gamma,
                       DefaultValuedAttr<F32Attr, "1.0f">:$zeta,
                       UnitAttr:$unnormalised,
                       OptionalAttr<Qtx_QuantTypeAttr>:$probs_quant,
                       OptionalAttr<Qtx_QuantTypeAttr>:$context_quant,
                       DefaultValuedAttr<F32Attr, "1.0f">:$gain,
                       OptionalAttr<Qtx_QuantTypeAttr>:$y_quant);
  let results = (outs Qtx_QuantizableTensor:$y);
  let assemblyFormat = [{
    $query (`as` $query_quant^)? `,` $key (`as` $key_quant^)? `,`
    $value (`as` $value_quant^)?
    (`mask` `(` $mask^ `)`)? (`causal` $causal^)? (`offset` `(` $offset^ `)`)?
    `scale` $scale (`soft_cap` $soft_cap^)? (`scores` $scores_quant^)?
    (`sink` `(` $sink^ `)`)? (`sink_logit` $sink_logit^)?
    custom<OptionalClip>($gamma, $zeta)
    (`unnormalised` $unnormalised^)? (`probs` $probs_quant^)?
    (`context` $context_quant^)?
    (`gate` `(` $gate^ `)`)? (`gain` $gain^)? (`to` $y_quant^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    int64_t getNumHeads() { return getQueryType().getDimSize(1); }
    int64_t getNumKeyValueHeads() { return getKeyType().getDimSize(1); }
    /// Query heads that share one key and value head.
    int64_t getHeadsPerKeyValueHead() {
      return getNumHeads() / getNumKeyValueHeads();
    }
    int64_t getKeySize() { return getQueryType().getDimSize(3); }
    int64_t getValueSize() { return getValueType().getDimSize(3); }
    ::mlir::RankedTensorType getQueryType() { return getQuery().getType(); }
    ::mlir::RankedTensorType getKeyType() { return getKey().getType(); }
    ::mlir::RankedTensorType getValueType() { return getValue().getType(); }
    /// Whether the stretch and clip changes anything.
    bool isClipped();
    /// Quantization parameters of the operands, the result and the inner stages;
    /// absent where the stage is float.
    ::std::optional<::qtx::QuantParams> getQueryParams();
    ::std::optional<::qtx::QuantParams> getKeyParams();
    ::std::optional<::qtx::QuantParams> getValueParams();
    ::std::optional<::qtx::QuantParams> getScoresParams();
    ::std::optional<::qtx::QuantParams> getProbsParams();
    ::std::optional<::qtx::QuantParams> getContextParams();
    ::std::optional<::qtx::QuantParams> getYParams();
  }];
}

//===----------------------------------------------------------------------===//
// Heads
//===----------------------------------------------------------------------===//

def Qtx_SplitHeadsOp : Qtx_Op<"split_heads"> {
  let summary = "view the channels of a projection as heads";
  let description = [{
    `y[b, h, s, c] = x[b, s, h * dh + c]`: `x` of shape `[B, S, d]` becomes `y` of shape
    `[B, H, S, dh]` with `d = H * dh`, as `qtx.attention` takes it. Elements of any type
    move unchanged. Groups along axis -1 of `x` that are whole heads are groups along
    axis -3 of `y`; groups that repeat in every head are groups along axis -1 of `y`.

    Example:

    ```mlir
    %y = qtx.split_heads %x : tensor<?x?x768xf32> -> tensor<?x12x?x64xf32>
    %z = qtx.split_heads %q
        : tensor<?x?x8x!qtx.grouped<i8:f32, axis=-1, [4 * 2], {0.5, 0.25}>>
        -> tensor<?x2x?x4x!qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.5, 0.25}>>
    ```
  }];
  let arguments = (ins Qtx_QuantizableTensor:$x);
  let results = (outs Qtx_QuantizableTensor:$y);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($y)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Qtx_MergeHeadsOp : Qtx_Op<"merge_heads"> {
  let summary = "view the heads of an attention as channels";
  let description = [{
    `y[b, s, h * dh + c] = x[b, h, s, c]`: the inverse of `qtx.split_heads`, from
    `[B, H, S, dh]` to `[B, S, d]`, with its rules for groups.

    Example:

    ```mlir
    %y = qtx.merge_heads %x : tensor<?x12x?x64xf32> -> tensor<?x?x768xf32>
    ```
  }];
  let arguments = (ins Qtx_QuantizableTensor:$x);
  let results = (outs Qtx_QuantizableTensor:$y);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($y)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

def Qtx_SoftmaxOp : Qtx_Op<"softmax", [SameOperandsAndResultType]> {
  let summary = "softmax along the last axis";
  let description = [{
    `y_j = exp(x_j - m) / sum_k exp(x_k - m)` along the last axis, with the row
    maximum `m`. A row of `-inf` alone yields zeros (Numerics.md, "Attention").
    `x` and `y` are f32 tensors of one shape, of rank 1 or more.

    Example:

    ```mlir
    %y = qtx.softmax %x : tensor<?x12x?x128xf32>
    ```
  }];
  let arguments = (ins Qtx_F32Tensor:$x);
  let results = (outs Qtx_F32Tensor:$y);
  let assemblyFormat = "$x attr-dict `:` type($x)";
  let hasVerifier = 1;
}

def Qtx_ClippedSoftmaxOp : Qtx_Op<"clipped_softmax", [SameOperandsAndResultType]> {
  let summary = "softmax, stretched and clipped, along the last axis";
  let description = [{
    `y = clip((zeta - gamma) softmax(x) + gamma, 0, 1)` along the last axis, with
    `gamma <= 0` and `zeta >= 1`: probabilities of at most `-gamma / (zeta - gamma)`
    become exact zeros, those of at least `(1 - gamma) / (zeta - gamma)` exact
    ones. Row sums are not 1. `gamma = 0, zeta = 1` is `qtx.softmax`, and
    canonicalises to it. `x` and `y` are f32 tensors of one shape, of rank 1 or
    more. Source: Bondarenko et al. 2023, section 4.1.

    Example:

    ```mlir
    %y = qtx.clipped_softmax %x clip [-0.03, 1.0] : tensor<?x12x?x128xf32>
    ```
  }];
  let arguments = (ins Qtx_F32Tensor:$x, F32Attr:$gamma, F32Attr:$zeta);
  let results = (outs Qtx_F32Tensor:$y);
  let assemblyFormat = "$x `clip` ` ` `[` $gamma `,` $zeta `]` attr-dict `:` type($x)";
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
}

//===----------------------------------------------------------------------===//
// Gate projection
//===----------------------------------------------------------------------===//

def Qtx_GateProjectionOp : Qtx_QuantizableOp<"gate_projection", [
    AttrSizedOperandSegments, InferTypeOpAdaptorWithIsCompatible]> {
  let summary = "logits of an attention gate from the layer's input";
  let description = [{
    The logits that the `gate` clause of `qtx.attention` takes, from the input `x` of
    the attention layer. The per-head kinds see `x` as H slices of `dh = d / H`
    channels: the gate of head `h` reads slice `h` only.

    | kind | `hidden_weight`, `hidden_bias` | `weight`, `bias` | logit of head h |
    |---|---|---|---|
    | `linear` | | `[H, dh]`, `[H]` | `x_h . weight_h + bias_h` |
    | `mlp` | `[H, n, dh]`, `[H, n]` | `[H, n]`, `[H]` | `relu(hidden_weight_h x_h + hidden_bias_h) . weight_h + bias_h` |
    | `all_heads` | | `[H, d]`, `[H]` | `x . weight_h + bias_h` |

    `x` is `[B, S, d]`, f32 or quantized per tensor or in groups along the last axis
    (it is dequantized); weights and biases are f32; the logits are f32 of shape
    `[B, H, S]`. Each sum starts from the bias and adds by fma in ascending order.
    Source: Bondarenko et al. 2023, section 4.2 and table 4.

    Example:

    ```mlir
    %g = qtx.gate_projection linear %x weight(%w) bias(%b)
        : (tensor<?x?x768xf32>, tensor<12x64xf32>, tensor<12xf32>) -> tensor<?x12x?xf32>
    %n = qtx.gate_projection mlp %x hidden(%w1, %b1) weight(%w2) bias(%b)
        : (tensor<?x?x768xf32>, tensor<12x4x64xf32>, tensor<12x4xf32>,
           tensor<12x4xf32>, tensor<12xf32>) -> tensor<?x12x?xf32>
    ```
  }];
  let arguments = (ins Qtx_GateKindAttr:$kind,
                       Qtx_QuantizableTensor:$x,
                       Optional<Qtx_F32Tensor>:$hidden_weight,
                       Optional<Qtx_F32Tensor>:$hidden_bias,
                       Qtx_F32Tensor:$weight,
                       Qtx_F32Tensor:$bias,
                       OptionalAttr<Qtx_QuantTypeAttr>:$x_quant);
  let results = (outs Qtx_F32Tensor:$logits);
  let assemblyFormat = [{
    `` $kind $x (`as` $x_quant^)?
    (`hidden` `(` $hidden_weight^ `,` $hidden_bias `)`)?
    `weight` `(` $weight `)` `bias` `(` $bias `)`
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getNumHeads() { return getBias().getType().getDimSize(0); }
  }];
}

#endif // QTX_DIALECT_QTX_IR_ATTENTIONOPS
