//===- RowOps.td - Operations on rows ----------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_ROWOPS
#define QTX_DIALECT_QTX_IR_ROWOPS

include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "qtx/Dialect/Qtx/IR/QtxOpBase.td"

// A tensor before bufferization, a memref after it.
def Qtx_Buffer : AnyTypeOf<[AnyRankedTensor, AnyStridedMemRef]>;

// The operations of the fast path. They write into destinations; their bodies say
// in scalars what is computed, and vectors come in with their expansion.
class Qtx_LeafOp<string mnemonic, list<Trait> traits = []>
    : Op<Qtx_Dialect, mnemonic, !listconcat(traits, [
        DestinationStyleOpInterface, IsolatedFromAbove,
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
        DeclareOpInterfaceMethods<ConditionallySpeculatable>,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
        DeclareOpInterfaceMethods<BufferizableOpInterface, [
          "bufferizesToMemoryRead", "bufferizesToMemoryWrite",
          "bufferizesToElementwiseAccess", "getAliasingValues", "bufferize"]>])>;

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

def Qtx_RowsOp : Qtx_LeafOp<"rows", [AttrSizedOperandSegments]> {
  let summary = "a computation on every row, in one pass over memory";
  let description = [{
    Runs its body for every element of an iteration space whose last dimension is
    the *column*; all columns with the same leading indices are a *row*. As in
    `linalg.generic`, the arguments of the body are elements of the inputs, selected
    by the indexing maps, and what it yields are elements of the outputs, which are
    written in full and not read. Unlike there, the body may reduce over its row:
    the result of `qtx.row_reduce` is one value for all columns.

    A map's last result is the column, or no result has it and there is one value per
    row; the other results are leading dimensions or the constant 0. An input with an
    entry in `row_ids` other than -1 is a table: the entry is the number of the input
    that holds ids, and the first index of the table is the row that the id names:
    from the end if it is negative, the nearest row if it is outside. The number of rows
    of a table is static.

    An output with an entry in `column_ids` other than -1 is stored in another order:
    the entry is the number of the input that says at which column of the output each
    column goes. These numbers must be a permutation of the columns.

    An output may be where an input is if both have the identity as their map: a row is
    written after all of it has been read.

    `convert-qtx-to-rows` makes these operations, `qtx-fuse-rows` joins them, and
    `qtx-expand-rows` turns them into loops over vectors after bufferization.

    Example:

    ```mlir
    #full = affine_map<(b, c) -> (b, c)>
    #column = affine_map<(b, c) -> (c)>
    func.func @centre(%x: tensor<?x8xf32>, %g: tensor<8xf32>, %e: tensor<?x8xf32>) -> tensor<?x8xf32> {
      %y = qtx.rows ins(%x, %g : tensor<?x8xf32>, tensor<8xf32>)
          outs(%e : tensor<?x8xf32>) maps [#full, #column, #full] {
      ^bb0(%a: f32, %gain: f32):
        %sum = qtx.row_reduce sum %a : f32
        %c = arith.subf %a, %sum : f32
        %r = arith.mulf %c, %gain : f32
        qtx.yield %r : f32
      } -> tensor<?x8xf32>
      return %y : tensor<?x8xf32>
    }
    ```
  }];
  let arguments = (ins Variadic<Qtx_Buffer>:$inputs, Variadic<Qtx_Buffer>:$outputs,
                       AffineMapArrayAttr:$indexing_maps,
                       OptionalAttr<DenseI64ArrayAttr>:$row_ids,
                       OptionalAttr<DenseI64ArrayAttr>:$column_ids);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    (`ins` `(` $inputs^ `:` type($inputs) `)`)?
    `outs` `(` $outputs `:` type($outputs) `)`
    `maps` $indexing_maps (`row_ids` $row_ids^)? (`column_ids` $column_ids^)?
    attr-dict-with-keyword $body
    (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputsMutable(); }
    ::mlir::AffineMap getInputMap(unsigned input);
    ::mlir::AffineMap getOutputMap(unsigned output);
    /// The input that holds the ids of the rows of `input`, if it is a table.
    ::std::optional<unsigned> getIdsOf(unsigned input);
    /// The input that says where the columns of `output` go, if they move.
    ::std::optional<unsigned> getColumnsOf(unsigned output);
    /// Whether each element of an operand belongs to the element of the
    /// iteration space with the same indices.
    bool isElementwise(::mlir::OpOperand &operand);
    /// Number of dimensions of the iteration space.
    unsigned getNumDims() { return getOutputMap(0).getNumDims(); }
    /// An operand and a dimension of it that has the size of `dim`.
    ::std::pair<::mlir::Value, unsigned> getOperandWithDim(unsigned dim);
    /// The values of the body that are the same for all columns of a row.
    ::llvm::DenseSet<::mlir::Value> getUniformValues();
    ::mlir::Operation *getYield() { return getBody().front().getTerminator(); }
  }];
}

def Qtx_RowReduceOp : Op<Qtx_Dialect, "row_reduce", [
    Pure, HasParent<"::qtx::RowsOp">, SameOperandsAndResultType]> {
  let summary = "reduce a value over the columns of a row";
  let description = [{
    One number per row from one number per column: `sum`, `square_sum` (the sum of the
    squares), `max` or `min`. NaN does not count for the last two, which are infinite
    where nothing counts. The order of sums is not specified.

    Example:

    ```mlir
    #map = affine_map<(c) -> (c)>
    func.func @row(%x: tensor<8xf32>, %e: tensor<8xf32>) -> tensor<8xf32> {
      %y = qtx.rows ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) maps [#map, #map] {
      ^bb0(%a: f32):
        %max = qtx.row_reduce max %a : f32
        qtx.yield %max : f32
      } -> tensor<8xf32>
      return %y : tensor<8xf32>
    }
    ```
  }];
  let arguments = (ins Qtx_RowReductionAttr:$kind, F32:$x);
  let results = (outs F32:$y);
  let assemblyFormat = "`` $kind $x attr-dict `:` type($x)";
}

def Qtx_YieldOp : Op<Qtx_Dialect, "yield", [Pure, ReturnLike, Terminator]> {
  let summary = "the results of a body";
  let description = [{
    Ends the body of `qtx.rows`.

    Example:

    ```mlir
    #map = affine_map<(c) -> (c)>
    func.func @row(%x: tensor<8xf32>, %e: tensor<8xf32>) -> tensor<8xf32> {
      %y = qtx.rows ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) maps [#map, #map] {
      ^bb0(%a: f32):
        qtx.yield %a : f32
      } -> tensor<8xf32>
      return %y : tensor<8xf32>
    }
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
}

#endif // QTX_DIALECT_QTX_IR_ROWOPS
