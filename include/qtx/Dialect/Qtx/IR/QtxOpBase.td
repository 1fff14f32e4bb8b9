//===- QtxOpBase.td - Base classes of qtx operations -------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXOPBASE
#define QTX_DIALECT_QTX_IR_QTXOPBASE

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "qtx/Dialect/Qtx/IR/QtxDialect.td"
include "qtx/Dialect/Qtx/IR/QtxAttributes.td"
include "qtx/Dialect/Qtx/IR/QtxInterfaces.td"
include "qtx/Dialect/Qtx/IR/QtxTypes.td"

// The name of the quantized element type of a tensor in storage form.
def Qtx_QuantTypeAttr : TypeAttrBase<"::mlir::Type", "quantized element type"> {
  let predicate = And<[TypeAttrBase<"::mlir::Type", "">.predicate,
    CPred<"::qtx::isQuantizedElementType(::llvm::cast<::mlir::TypeAttr>($_self).getValue())">]>;
}

// f32, a storage integer, or a quantized element type.
def Qtx_QuantizableElement : Type<
    CPred<"::qtx::isQuantizableElementType($_self)">,
    "f32, storage integer or quantized element type">;
def Qtx_QuantizableTensor : RankedTensorOf<[Qtx_QuantizableElement]>;

def Qtx_F32Tensor : RankedTensorOf<[F32]>;
def Qtx_I32Tensor : RankedTensorOf<[I32]>;
def Qtx_PermutationTensor : 1DTensorOf<[I32, I64, Index]>;
def Qtx_BoolTensor : RankedTensorOf<[I1]>;
def Qtx_MaskTensor : RankedTensorOf<[F32, I1]>;
def Qtx_WeightTensor : RankedTensorOf<[F32, I<4>, I<8>]>;

// Every graph operation is pure and knows its result shapes.
class Qtx_Op<string mnemonic, list<Trait> traits = []>
    : Op<Qtx_Dialect, mnemonic, !listconcat(traits, [
        Pure, DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>])>;

class Qtx_QuantizableOp<string mnemonic, list<Trait> traits = []>
    : Qtx_Op<mnemonic, !listconcat(traits, [
        DeclareOpInterfaceMethods<Qtx_QuantizableOpInterface>])>;

#endif // QTX_DIALECT_QTX_IR_QTXOPBASE
