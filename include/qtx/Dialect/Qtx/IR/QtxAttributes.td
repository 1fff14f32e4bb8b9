//===- QtxAttributes.td - Attributes of the qtx dialect ----*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXATTRIBUTES
#define QTX_DIALECT_QTX_IR_QTXATTRIBUTES

include "qtx/Dialect/Qtx/IR/QtxEnums.td"

def Qtx_MicroKernelAttr : AttrDef<Qtx_Dialect, "MicroKernel"> {
  let mnemonic = "micro_kernel";
  let summary = "how a contraction runs";
  let description = [{
    The lowering configuration that `qtx-configure` puts on a contraction: the
    micro-kernel's row by its name, the tile of the result that stays in
    registers (`rows` times `vectors` vectors), and the number of rows whose
    operand stays in the cache while weights pass (`block`). All weights pass,
    or where `panels` is not zero, those of so many panels, which all rows meet
    before the next ones: they stay in the second-level cache.

    ```mlir
    #qtx.micro_kernel<"x86-avx512-fma", rows = 8, vectors = 3, block = 128>
    ```
  }];
  let parameters = (ins StringRefParameter<"">:$kernel, "int64_t":$rows,
                        "int64_t":$vectors, "int64_t":$block,
                        DefaultValuedParameter<"int64_t", "0">:$panels);
  let assemblyFormat = [{
    `<` $kernel `,` `rows` `=` $rows `,` `vectors` `=` $vectors `,` `block` `=`
    $block (`,` `panels` `=` $panels^)? `>`
  }];
}

#endif // QTX_DIALECT_QTX_IR_QTXATTRIBUTES
