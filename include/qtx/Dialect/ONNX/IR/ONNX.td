//===- ONNX.td - Nodes of an ONNX graph --------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_ONNX_IR_ONNX
#define QTX_DIALECT_ONNX_IR_ONNX

include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def ONNX_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::qtx::onnx";
  let summary = "an ONNX graph while it is imported";
  let description = [{
    The graph of an ONNX model between reading it and lowering it to `qtx` and upstream
    operations. It exists inside the import stage only, so that recognizing larger
    operations and lowering single ones are ordinary rewrites; nothing of it leaves the
    stage.

    One operation stands for all of ONNX's. A type carries the symbolic sizes of its
    dimensions as an affine map in the tensor's encoding:

    ```mlir
    tensor<?x?x384xf32, affine_map<()[s0, s1] -> (s0, s1, 384)>>
    ```

    Equal expressions are equal sizes. Symbols are those of the whole function; the
    symbols of dynamic input dimensions come first, in order of first appearance, and
    sizes that are known only at run time get further ones. Static types carry no
    encoding.
  }];
}

class ONNX_Op<string mnemonic, list<Trait> traits = []>
    : Op<ONNX_Dialect, mnemonic, traits>;

def ONNX_Value : Type<Or<[AnyTensor.predicate, NoneType.predicate]>,
                      "tensor or none">;

def ONNX_NodeOp : ONNX_Op<"node", [Pure]> {
  let summary = "a node of an ONNX graph";
  let description = [{
    A node with the operator's name, its domain where that is not ONNX's own, its inputs
    (an `onnx.none` for each one left out), its attributes and its outputs. The location
    carries the name of the node.

    Example:

    ```mlir
    %y = onnx.node "Gemm"(%a, %b) attributes {transB = 1 : si64}
        : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
    ```
  }];
  let arguments = (ins StrAttr:$op_type, OptionalAttr<StrAttr>:$domain,
                       Variadic<ONNX_Value>:$inputs,
                       OptionalAttr<DictionaryAttr>:$node_attributes);
  let results = (outs Variadic<ONNX_Value>:$outputs);
  let assemblyFormat = [{
    $op_type (`domain` $domain^)? `(` $inputs `)` (`attributes` $node_attributes^)?
    attr-dict `:` functional-type($inputs, $outputs)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether this is the operator `name` of ONNX's own domain.
    bool is(::llvm::StringRef name) {
      return getOpType() == name && !getDomain();
    }
    /// The input `index`, or null if it was left out.
    ::mlir::Value getOptionalInput(unsigned index);
    /// The attribute `name`, or null. Integers are `si64`, floats `f32`, lists arrays
    /// of them, tensors elements attributes.
    ::mlir::Attribute getNodeAttr(::llvm::StringRef name);
    int64_t getIntAttr(::llvm::StringRef name, int64_t absent);
    float getFloatAttr(::llvm::StringRef name, float absent);
    ::llvm::StringRef getStringAttr(::llvm::StringRef name, ::llvm::StringRef absent);
    /// The integers of a list attribute; nothing if it is absent.
    std::optional<::llvm::SmallVector<int64_t>> getIntsAttr(::llvm::StringRef name);
  }];
}

def ONNX_NoneOp : ONNX_Op<"none", [Pure]> {
  let summary = "an input that a node leaves out";
  let description = [{
    Example:

    ```mlir
    %none = onnx.none : none
    ```
  }];
  let arguments = (ins);
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def ONNX_UnsupportedOp : ONNX_Op<"unsupported"> {
  let summary = "a node that cannot be imported";
  let description = [{
    Stands for a node without a rule, or one that its rule refuses for a reason, where
    the file says what type its outputs have. So the nodes in front of it and behind it
    are looked at, and `convert-onnx-to-linalg` refuses all of the model that cannot be
    compiled in one error. Of its inputs those are listed that other nodes compute.

    Example:

    ```mlir
    %y = onnx.unsupported "Loop"(%x) : (tensor<4x16xf32>) -> tensor<4x16xf32>
    %z = onnx.unsupported "Mod" because "fmod of integers" (%y)
        : (tensor<4x16xf32>) -> tensor<4x16xf32>
    ```
  }];
  let arguments = (ins StrAttr:$op_type, OptionalAttr<StrAttr>:$domain,
                       OptionalAttr<StrAttr>:$reason, Variadic<ONNX_Value>:$inputs);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = [{
    $op_type (`domain` $domain^)? (`because` $reason^)? `(` $inputs `)` attr-dict `:`
    functional-type($inputs, $outputs)
  }];
}

#endif // QTX_DIALECT_ONNX_IR_ONNX
