//===- Pooling.cpp - Pooling of ONNX --------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace qtx::onnx;

static SmallVector<int64_t> getSpatialAxes(Tensor x) {
  return llvm::to_vector(llvm::seq<int64_t>(2, x.rank()));
}

static Lowered lowerGlobalAveragePool(NodeLowering &b) {
  Tensor x = b.widen(b.input(0));
  return b.narrow(b.mean(x, getSpatialAxes(x), /*keep=*/true));
}

static Lowered lowerGlobalMaxPool(NodeLowering &b) {
  Tensor x = b.widen(b.input(0));
  return b.narrow(b.maximum(x, getSpatialAxes(x), /*keep=*/true));
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

namespace {
struct Window {
  SmallVector<int64_t> kernel, strides, dilations, pads;
};
} // namespace

static FailureOr<Window> getWindow(NodeLowering &b) {
  auto kernel = b.node.getIntsAttr("kernel_shape");
  auto strides = b.node.getIntsAttr("strides");
  auto dilations = b.node.getIntsAttr("dilations");
  auto pads = b.node.getIntsAttr("pads");
  size_t spatial = b.input(0).rank() - 2;
  if (!kernel || !strides || !dilations || !pads || kernel->size() != spatial ||
      strides->size() != spatial || dilations->size() != spatial ||
      pads->size() != 2 * spatial)
    return b.fail("'strides', 'dilations' and 'pads' do not match");
  return Window{*kernel, *strides, *dilations, *pads};
}

/// Reduces over the positions of the kernel; `combine` is given the element (0
/// outside of the tensor), the accumulator and whether the position lies
/// inside.
static Tensor reduceWindows(NodeLowering &b, Tensor x, const Window &window,
                            Value initial, ScalarBody combine) {
  int64_t rank = x.rank(), spatial = rank - 2;
  // The kernel is an operand only because it gives loops their sizes.
  SmallVector<AffineExpr> kernelDims, kernelMap, resultMap;
  for (int64_t i = 0; i < spatial; ++i) {
    kernelDims.push_back(b.constantDim(window.kernel[i]));
    kernelMap.push_back(b.getAffineDimExpr(rank + i));
  }
  for (int64_t i = 0; i < rank; ++i)
    resultMap.push_back(b.getAffineDimExpr(i));
  SmallVector<Value> sizes = b.indices(x.dims());
  MLIRContext *context = b.getContext();
  return b.reduceWith(
      b.filled(b.resultDims(), x.element(), initial),
      AffineMap::get(rank + spatial, 0, resultMap, context),
      b.empty(kernelDims, x.element()),
      AffineMap::get(rank + spatial, 0, kernelMap, context),
      [&](Scalars &s, ValueRange v) {
        SmallVector<Value> at = {linalg::IndexOp::create(s, 0),
                                 linalg::IndexOp::create(s, 1)};
        Value inside = s.integer(s.getI1Type(), 1);
        for (int64_t i = 0; i < spatial; ++i) {
          auto constant = [&](int64_t value) -> Value {
            return arith::ConstantIndexOp::create(s, value);
          };
          Value position = s.mul(linalg::IndexOp::create(s, 2 + i),
                                 constant(window.strides[i]));
          Value offset = s.mul(linalg::IndexOp::create(s, rank + i),
                               constant(window.dilations[i]));
          Value index =
              s.sub(s.add(position, offset), constant(window.pads[i]));
          Value here = arith::CmpIOp::create(s, arith::CmpIPredicate::ult,
                                             index, sizes[2 + i]);
          inside = s.logicalAnd(inside, here);
          at.push_back(s.select(here, index, constant(0)));
        }
        Value element = NodeLowering::extract(s, x, at);
        Value zero = s.number(element.getType(), 0);
        element = s.select(inside, element, zero);
        return combine(s, ValueRange{element, v[1], inside});
      });
}

static Lowered lowerMaxPool(NodeLowering &b) {
  if (b.hasResult(1))
    return b.fail("indices as a result");
  auto window = getWindow(b);
  if (failed(window))
    return failure();
  Tensor x = b.widen(b.input(0));
  Scalars s(b.getLoc(), b, x.element());
  return b.narrow(
      reduceWindows(b, x, *window, s.lowest(getPlainElement(x.element())),
                    [](Scalars &s, ValueRange v) {
                      return s.select(v[2], s.max(v[0], v[1]), v[1]);
                    }));
}

/// The number of positions of each window that count.
static Tensor countWindows(NodeLowering &b, Tensor x, const Window &window) {
  Scalars outer(b.getLoc(), b, x.element());
  Value zero = outer.number(getPlainElement(x.element()), 0);
  return reduceWindows(b, x, window, zero, [](Scalars &s, ValueRange v) {
    return s.select(v[2], s.add(v[1], s.number(v[1].getType(), 1)), v[1]);
  });
}

static Lowered lowerAveragePool(NodeLowering &b) {
  auto window = getWindow(b);
  if (failed(window))
    return failure();
  if (b.node.getIntAttr("count_include_pad", 0) != 0 &&
      b.node.getIntAttr("ceil_mode", 0) != 0)
    return b.fail("counts of padding with 'ceil_mode'");
  Tensor x = b.widen(b.input(0));
  Scalars s(b.getLoc(), b, x.element());
  Tensor sums =
      reduceWindows(b, x, *window, s.number(getPlainElement(x.element()), 0),
                    [](Scalars &s, ValueRange v) { return s.add(v[0], v[1]); });
  int64_t total = 1;
  for (int64_t size : window->kernel)
    total *= size;
  Tensor counts = b.node.getIntAttr("count_include_pad", 0) != 0
                      ? b.number(x.element(), total)
                      : countWindows(b, x, *window);
  return b.mapToResult({sums, counts}, [](Scalars &s, ValueRange v) {
    return s.div(v[0], v[1]);
  });
}

void qtx::onnx::populatePoolingLowerings(Lowerings &lowerings) {
  lowerings["AveragePool"] = lowerAveragePool;
  lowerings["GlobalAveragePool"] = lowerGlobalAveragePool;
  lowerings["GlobalMaxPool"] = lowerGlobalMaxPool;
  lowerings["MaxPool"] = lowerMaxPool;
}
