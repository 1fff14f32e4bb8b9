//===- QtxEnums.td - Enumerations of the qtx dialect -------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXENUMS
#define QTX_DIALECT_QTX_IR_QTXENUMS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "qtx/Dialect/Qtx/IR/QtxDialect.td"

class Qtx_Enum<string name, string summary, list<I32EnumAttrCase> cases>
    : I32EnumAttr<name, summary, cases> {
  let genSpecializedAttr = 0;
  let cppNamespace = "::qtx";
}

class Qtx_EnumAttr<EnumAttrInfo info, string name>
    : EnumAttr<Qtx_Dialect, info, name>;

//===----------------------------------------------------------------------===//
// Quantization
//===----------------------------------------------------------------------===//

def Qtx_Observer : Qtx_Enum<"Observer", "rule by which an observed range is updated", [
    I32EnumAttrCase<"MinMax", 0, "min_max">,
    I32EnumAttrCase<"Current", 1, "current">,
    I32EnumAttrCase<"Running", 2, "running">
  ]>;
def Qtx_ObserverAttr : Qtx_EnumAttr<Qtx_Observer, "observer">;

//===----------------------------------------------------------------------===//
// Contraction
//===----------------------------------------------------------------------===//

def Qtx_Activation : Qtx_Enum<"Activation", "activation applied by an epilogue", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"Relu", 1, "relu">,
    I32EnumAttrCase<"Gelu", 2, "gelu">,
    I32EnumAttrCase<"GeluTanh", 3, "gelu_tanh">,
    I32EnumAttrCase<"Silu", 4, "silu">
  ]>;
def Qtx_ActivationAttr : Qtx_EnumAttr<Qtx_Activation, "activation">;

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

def Qtx_RowReduction : Qtx_Enum<"RowReduction", "reduction over a row", [
    I32EnumAttrCase<"Sum", 0, "sum">,
    I32EnumAttrCase<"SquareSum", 1, "square_sum">,
    I32EnumAttrCase<"Max", 2, "max">,
    I32EnumAttrCase<"Min", 3, "min">
  ]>;
def Qtx_RowReductionAttr : Qtx_EnumAttr<Qtx_RowReduction, "row_reduction">;

//===----------------------------------------------------------------------===//
// Normalisation and elementwise
//===----------------------------------------------------------------------===//

def Qtx_GeluApproximation : Qtx_Enum<"GeluApproximation", "form of GELU", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"Tanh", 1, "tanh">
  ]>;
def Qtx_GeluApproximationAttr
    : Qtx_EnumAttr<Qtx_GeluApproximation, "gelu_approximation">;

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def Qtx_GateKind : Qtx_Enum<"GateKind", "form of an attention gate's projection", [
    I32EnumAttrCase<"Linear", 0, "linear">,
    I32EnumAttrCase<"Mlp", 1, "mlp">,
    I32EnumAttrCase<"AllHeads", 2, "all_heads">
  ]>;
def Qtx_GateKindAttr : Qtx_EnumAttr<Qtx_GateKind, "gate_kind">;

//===----------------------------------------------------------------------===//
// Training
//===----------------------------------------------------------------------===//

def Qtx_Grid : Qtx_Enum<"Grid", "integers of a fake quantizer of b bits", [
    I32EnumAttrCase<"Signed", 0, "signed">,
    I32EnumAttrCase<"Unsigned", 1, "unsigned">,
    I32EnumAttrCase<"Asymmetric", 2, "asymmetric">
  ]>;
def Qtx_GridAttr : Qtx_EnumAttr<Qtx_Grid, "grid">;

def Qtx_Surrogate : Qtx_Enum<"Surrogate", "surrogate gradient of rounding", [
    I32EnumAttrCase<"Ste", 0, "ste">,
    I32EnumAttrCase<"StePaper", 1, "ste_paper">,
    I32EnumAttrCase<"Ewgs", 2, "ewgs">,
    I32EnumAttrCase<"StackedSigmoid", 3, "stacked_sigmoid">
  ]>;
def Qtx_SurrogateAttr : Qtx_EnumAttr<Qtx_Surrogate, "surrogate">;

def Qtx_FreezeSemantics : Qtx_Enum<"FreezeSemantics", "when a frozen integer is written", [
    I32EnumAttrCase<"Latch", 0, "latch">,
    I32EnumAttrCase<"ReferenceCompat", 1, "reference_compat">
  ]>;
def Qtx_FreezeSemanticsAttr : Qtx_EnumAttr<Qtx_FreezeSemantics, "freeze_semantics">;

def Qtx_Reduction : Qtx_Enum<"Reduction", "reduction of a loss", [
    I32EnumAttrCase<"Sum", 0, "sum">,
    I32EnumAttrCase<"Mean", 1, "mean">,
    I32EnumAttrCase<"KernelMean", 2, "kernel_mean">
  ]>;
def Qtx_ReductionAttr : Qtx_EnumAttr<Qtx_Reduction, "reduction">;

#endif // QTX_DIALECT_QTX_IR_QTXENUMS
