//===- QtxTypes.td - Types of the qtx dialect --------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXTYPES
#define QTX_DIALECT_QTX_IR_QTXTYPES

include "mlir/IR/AttrTypeBase.td"
include "qtx/Dialect/Qtx/IR/QtxDialect.td"

def Qtx_GroupedType : TypeDef<Qtx_Dialect, "Grouped"> {
  let mnemonic = "grouped";
  let summary = "element type quantized in groups of channels along one axis";
  let description = [{
    The element type of a tensor that is quantized with one scale and one zero
    point per group of adjacent channels along one axis (PEG, Bondarenko et al.,
    EMNLP 2021). Channels are described in stored order; a permutation is a
    `qtx.permute` operation and never part of the type.

    ```
    grouped-type   ::= `!qtx.grouped` `<` storage `:` `f32` `,` `axis` `=` axis `,`
                       `[` run (`,` run)* `]` `,` parameters `>`
    storage        ::= (`i` | `u`) (`4` | `8` | `16` | `32`)
    run            ::= group-size (`*` repeat)?
    parameters     ::= `{` scale (`:` zero-point)? (`,` scale (`:` zero-point)?)* `}` | `?`
    ```

    - `axis` counts from the last dimension (-1 is the last), so that it survives
      the collapse and expansion of leading dimensions.
    - Group sizes are positive and sum to the size of that dimension; `2 * 3`
      stands for `2, 2, 2`.
    - Scales are positive, finite, normal fp32 numbers. Zero points lie in the range
      of the storage type; a value means `scale * (stored - zero_point)`.
    - `?` means that the parameters are run-time values: the operation that uses
      the tensor has operands (or results) for them.

    One group with compile-time parameters is `!quant.uniform`.

    Example:

    ```mlir
    !qtx.grouped<i8:f32, axis=-1, [752, 16], {0.05:-3, 0.8}>
    !qtx.grouped<i8:f32, axis=-1, [128 * 6], ?>
    ```
  }];
  let parameters = (ins
    "unsigned":$storageWidth,
    "bool":$isSigned,
    "int64_t":$axis,
    ArrayRefParameter<"int64_t", "group sizes">:$groupSizes,
    "::mlir::DenseF32ArrayAttr":$scales,
    "::mlir::DenseI64ArrayAttr":$zeroPoints
  );
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Whether scales and zero points are run-time values.
    bool isDynamic() const { return !getScales(); }
    int64_t getNumGroups() const { return getGroupSizes().size(); }
    /// Number of channels along the axis: the sum of the group sizes.
    int64_t getNumChannels() const;
  }];
}

#endif // QTX_DIALECT_QTX_IR_QTXTYPES
