//===- MeasureTest.cpp - Tests of what quantization costs -----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Measure.h"
#include "AnalysisTestUtils.h"

using namespace llvm;
using namespace mlir;
using namespace qtx;

namespace {

class MeasureTest : public AnalysisTest {
protected:
  func::FuncOp parseModel() {
    func::FuncOp function = parse(R"(
      func.func @main(%x: tensor<?x4xf32> {qtx.name = "x"}) -> tensor<?x1xf32> {
        %w = arith.constant dense<[[3.0, 4.0, 5.0, 8.0]]> : tensor<1x4xf32>
        %y = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<1x4xf32>) -> tensor<?x1xf32> loc("y")
        return %y : tensor<?x1xf32>
      })");
    model = std::move(module);
    return function;
  }
  std::optional<double> getWeightError(func::FuncOp function,
                                       func::FuncOp quantized) {
    Report report;
    reportModel(function, report);
    reportQuantization(quantized, report);
    reportWeightErrors(function, quantized, report);
    return report.getLayer("y").weightError;
  }

  OwningOpRef<ModuleOp> model;
};

// Permuted, then scaled, then permuted again: the weights are the same.
TEST_F(MeasureTest, WeightsAreBroughtBack) {
  func::FuncOp function = parseModel();
  func::FuncOp quantized = parse(R"(
      func.func @main(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
        %i = arith.constant dense<[1, 3, 0, 2]> : tensor<4xi32>
        %j = arith.constant dense<[2, 1, 0, 3]> : tensor<4xi32>
        %g = arith.constant dense<[0.5, 2.0, 1.0, 0.25]> : tensor<4xf32>
        %z = arith.constant dense<0.0> : tensor<4xf32>
        %w = arith.constant dense<[[6, 8, 16, 40]]> : tensor<1x4xi8>
        %s = arith.constant dense<0.5> : tensor<1xf32>
        %a = qtx.permute %x by %i : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
        %b = qtx.scale_shift %a gain(%g) shift(%z)
            : (tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
        %c = qtx.permute %b by %j : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
        %q = qtx.quantize %c : tensor<?x4xf32> -> tensor<?x4x!quant.uniform<i8:f32, 0.5>>
        %y = qtx.linear %q, %w scale(%s)
            : (tensor<?x4x!quant.uniform<i8:f32, 0.5>>, tensor<1x4xi8>, tensor<1xf32>)
            -> tensor<?x1xf32> loc("y")
        return %y : tensor<?x1xf32>
      })");
  // Channels read: x0 * 1, x3 * 2, x1 * 0.5, x2 * 0.25.
  EXPECT_EQ(getWeightError(function, quantized), 0.0);
}

TEST_F(MeasureTest, WeightsInBlocks) {
  func::FuncOp function = parseModel();
  func::FuncOp quantized = parse(R"(
      func.func @main(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
        %w = arith.constant dense<[[3, 4, 4, 6]]> : tensor<1x4xi4>
        %s = arith.constant dense<[[1.0, 1.25]]> : tensor<1x2xf32>
        %y = qtx.linear %x, %w scale(%s) block 2
            : (tensor<?x4xf32>, tensor<1x4xi4>, tensor<1x2xf32>) -> tensor<?x1xf32> loc("y")
        return %y : tensor<?x1xf32>
      })");
  // The last one is 7.5 instead of 8; the sum of the squares is 114.
  EXPECT_DOUBLE_EQ(*getWeightError(function, quantized), 0.5 / std::sqrt(114));
}

TEST_F(MeasureTest, FloatWeightsHaveNoError) {
  func::FuncOp function = parseModel();
  EXPECT_FALSE(getWeightError(function, function).has_value());
}

// Each edge is measured before and after its own quantizer, also where an
// operation quantizes its result.
TEST_F(MeasureTest, NoiseOfFusedQuantizers) {
  func::FuncOp function = parse(R"(
      func.func @main(%x: tensor<?x1xf32> {qtx.name = "x"}) -> tensor<?x1xf32> {
        %q = qtx.quantize %x : tensor<?x1xf32> -> tensor<?x1x!quant.uniform<i8:f32, 2.0>>
        %y = qtx.relu %q : (tensor<?x1x!quant.uniform<i8:f32, 2.0>>)
            -> tensor<?x1x!quant.uniform<i8:f32, 4.0>> loc("y")
        %z = qtx.dequantize %y : tensor<?x1x!quant.uniform<i8:f32, 4.0>> -> tensor<?x1xf32>
        return %z : tensor<?x1xf32>
      })");
  auto data = create(function, list(floats("x", {2, 1}, {3, 10})));
  ASSERT_TRUE(bool(data));
  Report report;
  ASSERT_FALSE(bool(measureNoise({}, function, *data, {}, report)));
  // 3 and 10 become 4 and 10, and those 4 and 8 (a tie goes to the even code).
  EXPECT_DOUBLE_EQ(*report.getEdge("x").sqnr, 10 * std::log10(109.0 / 1));
  EXPECT_DOUBLE_EQ(*report.getEdge("y").sqnr, 10 * std::log10(116.0 / 4));
}

} // namespace
