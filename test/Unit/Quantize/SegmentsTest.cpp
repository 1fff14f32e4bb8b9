//===- SegmentsTest.cpp - Tests of quantizing in segments -----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../Analysis/AnalysisTestUtils.h"
#include "qtx/Analysis/Calibrate.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Quantize/Quantize.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>

using namespace llvm;
using namespace mlir;
using namespace qtx;

namespace {

/// A model of its own context, whose constants then have the same names.
class Model : public AnalysisTest {
public:
  void TestBody() override {}

  /// Two feed-forward networks; the first input of one linear is also that of
  /// another one far behind it.
  Model() {
    function = parse(R"(
      func.func @main(%x: tensor<?x8xf32> {qtx.name = "x"}) -> tensor<?x8xf32> {
        %a = arith.constant dense_resource<up> : tensor<16x8xf32>
        %b = arith.constant dense_resource<down> : tensor<8x16xf32>
        %0 = qtx.linear %x, %a : (tensor<?x8xf32>, tensor<16x8xf32>) -> tensor<?x16xf32>
        %1 = qtx.gelu %0 : (tensor<?x16xf32>) -> tensor<?x16xf32>
        %2 = qtx.linear %1, %b : (tensor<?x16xf32>, tensor<8x16xf32>) -> tensor<?x8xf32>
        %3 = qtx.add %2, %x : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
        %4 = qtx.linear %3, %a : (tensor<?x8xf32>, tensor<16x8xf32>) -> tensor<?x16xf32>
        %5 = qtx.gelu %4 : (tensor<?x16xf32>) -> tensor<?x16xf32>
        %6 = qtx.linear %5, %b : (tensor<?x16xf32>, tensor<8x16xf32>) -> tensor<?x8xf32>
        %7 = qtx.linear %x, %a : (tensor<?x8xf32>, tensor<16x8xf32>) -> tensor<?x16xf32>
        %8 = qtx.linear %7, %b : (tensor<?x16xf32>, tensor<8x16xf32>) -> tensor<?x8xf32>
        %9 = qtx.add %6, %8 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
        return %9 : tensor<?x8xf32>
      }
      {-# dialect_resources: { builtin: {
        up: "0x)" + makeWeights(1) +
                     R"(", down: "0x)" + makeWeights(2) + R"("
      } } #-})");
    std::vector<float> values(8 * 40);
    for (auto [i, value] : enumerate(values))
      value = std::sin(float(i * i) * 0.37f) * float(1 + i % 8);
    data = cantFail(create(function, list(floats("x", {40, 8}, values)),
                           {/*maxPositions=*/4, /*maxSamples=*/4}));
  }

  /// The quantized model as text.
  std::string quantize(StringRef recipe, const StreamOptions &stream) {
    CalibrateOptions calibration;
    calibration.stream = stream;
    EXPECT_TRUE(succeeded(calibrate(function, *data, calibration)));
    Report report;
    QuantizeOptions options;
    options.data = &*data;
    options.stream = stream;
    options.report = &report;
    Recipe parsed = cantFail(parseRecipe(recipe));
    EXPECT_TRUE(succeeded(quantizeModel(function, parsed, options)));
    size_t numRounded = count_if(report.getLayers(), [](const LayerReport &l) {
      return l.method == "gptq" && l.isBiasCorrected;
    });
    EXPECT_EQ(numRounded, 6u);
    std::string text;
    raw_string_ostream(text) << *module;
    return text;
  }

private:
  /// An alignment of 4, and 128 floats, in hexadecimal digits.
  static std::string makeWeights(int seed) {
    std::vector<float> weights;
    for (int i = 0; i < 128; ++i)
      weights.push_back(std::cos(float(i * (i + seed)) * 0.71f));
    StringRef bytes(reinterpret_cast<const char *>(weights.data()), 512);
    return "04000000" + toHex(bytes);
  }

  func::FuncOp function;
  std::optional<CalibrationData> data;
};

// Second moments, rounding and biases: the same bits in one segment and in one
// for each edge, for any number of threads.
TEST(QuantizeSegmentsTest, SameAsOneSegment) {
  for (StringRef recipe : {"int8", "w4a8"}) {
    std::string expected = Model().quantize(recipe, {});
    EXPECT_NE(expected.find("!quant.uniform<i8"), std::string::npos);
    for (unsigned threads : {1, 3}) {
      StreamOptions stream;
      stream.numThreads = threads;
      stream.maxSegmentBytes = 1;
      stream.maxKeptBytes = 0;
      EXPECT_EQ(Model().quantize(recipe, stream), expected);
    }
  }
}

} // namespace
