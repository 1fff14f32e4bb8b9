//===- ReportTest.cpp - Tests of reports ----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Report.h"
#include "llvm/Support/JSON.h"
#include "gtest/gtest.h"

using namespace llvm;
using namespace qtx;

namespace {

std::string write(const Report &report) {
  std::string text;
  raw_string_ostream stream(text);
  report.writeJSON(stream);
  return text;
}

TEST(ReportTest, EntriesStayWhereTheyAre) {
  Report report;
  EdgeReport &first = report.getEdge("a");
  for (int i = 0; i < 100; ++i)
    report.getEdge("edge" + std::to_string(i));
  EXPECT_EQ(&first, &report.getEdge("a"));
  EXPECT_EQ(report.getEdges().size(), 101u);
  EXPECT_EQ(report.getEdges().front().name, "a");
}

TEST(ReportTest, Blocks) {
  EXPECT_EQ(getBlockName("/encoder/layer.3/attention/self/query/MatMul"),
            "encoder/layer.3");
  EXPECT_EQ(getBlockName("transformer.h.11.mlp"), "transformer.h.11");
  EXPECT_EQ(getBlockName("blocks.0"), "blocks.0");
  EXPECT_EQ(getBlockName("0/x"), "");
  EXPECT_EQ(getBlockName("layer3.x"), "");
  EXPECT_EQ(getBlockName(""), "");
}

TEST(ReportTest, Outliers) {
  EdgeReport edge;
  EXPECT_TRUE(findOutliers(edge).empty());
  edge.lo = {-1, -1, -1, 0, -3};
  edge.hi = {1, 1, 1, 5, 2.25};
  // Just 2.5 times the median is no outlier.
  EXPECT_EQ(findOutliers(edge), (std::vector<int64_t>{4}));
}

TEST(ReportTest, Sqnr) {
  EXPECT_DOUBLE_EQ(getSqnr(1000, 1), 30);
  EXPECT_DOUBLE_EQ(getSqnr(1, 0), kMaxSqnr);
  EXPECT_DOUBLE_EQ(getSqnr(0, 0), kMaxSqnr);
  EXPECT_DOUBLE_EQ(getSqnr(0, 1), -kMaxSqnr);
}

TEST(ReportTest, JSON) {
  Report report;
  report.model = "m";
  report.recipe = "int8";
  report.stages = {{"import", 0.5}, {"calibrate", 1.25}};
  EdgeReport &edge = report.getEdge("layer.0.\"x\"\n");
  edge.op = "qtx.add";
  edge.lo = {-0.1f, 0};
  edge.hi = {1e-30f, 3};
  edge.reason = "why";
  edge.observer = "mse";
  edge.margin = 1.5;
  edge.isShifted = true;
  LayerReport &layer = report.getLayer("l");
  layer.shape = {2, 3};
  layer.type = "i4";
  layer.method = "gptq";
  layer.weightError = 0.25;
  layer.hasSearchedScales = true;
  layer.kernel = "k";
  layer.kernelReason = "no row";
  report.remarks = {{"qtx-configure", "l", "no row"}};
  report.numReferenceRemarks = 1;
  auto parsed = json::parse(write(report));
  ASSERT_TRUE(bool(parsed));
  const json::Object &root = *parsed->getAsObject();
  EXPECT_EQ(root.getObject("totals")->getNumber("seconds"), 1.75);
  EXPECT_EQ(root.getObject("totals")->getInteger("quantized_edges"), 0);
  EXPECT_EQ(root.getObject("totals")->getInteger("quantized_layers"), 1);
  EXPECT_FALSE(root.get("calibration"));
  const json::Object &first = *(*root.getArray("edges"))[0].getAsObject();
  EXPECT_EQ(first.getString("name"), "layer.0.\"x\"\n");
  EXPECT_EQ(first.getString("block"), "layer.0");
  // Numbers of fp32 survive.
  EXPECT_EQ(float(*(*first.getArray("lo"))[0].getAsNumber()), -0.1f);
  EXPECT_EQ(float(*(*first.getArray("hi"))[0].getAsNumber()), 1e-30f);
  EXPECT_EQ(first.getString("reason"), "why");
  EXPECT_EQ(first.getString("observer"), "mse");
  EXPECT_EQ(first.getNumber("margin"), 1.5);
  EXPECT_FALSE(first.get("scaled"));
  EXPECT_EQ(first.getBoolean("shifted"), true);
  EXPECT_FALSE(first.get("groups"));
  EXPECT_FALSE(first.get("sqnr_db"));
  const json::Object &second = *(*root.getArray("layers"))[0].getAsObject();
  EXPECT_EQ(second.getNumber("weight_error"), 0.25);
  EXPECT_EQ(second.getString("method"), "gptq");
  EXPECT_EQ(second.getBoolean("scale_search"), true);
  EXPECT_FALSE(second.get("bias_corrected"));
  EXPECT_EQ(second.getString("kernel"), "k");
  EXPECT_EQ(second.getString("kernel_reason"), "no row");
  EXPECT_EQ(root.getObject("totals")->getInteger("reference_operations"), 1);
  const json::Object &remark = *(*root.getArray("remarks"))[0].getAsObject();
  EXPECT_EQ(remark.getString("pass"), "qtx-configure");
  EXPECT_EQ(remark.getString("name"), "l");
  EXPECT_EQ(remark.getString("text"), "no row");
}

TEST(ReportTest, NamesThatAreNoText) {
  Report report;
  report.getEdge("a\xff");
  EXPECT_TRUE(bool(json::parse(write(report))));
}

TEST(ReportTest, Summary) {
  Report report;
  auto addEdge = [&](StringRef name, StringRef type,
                     std::optional<double> sqnr) -> EdgeReport & {
    EdgeReport &edge = report.getEdge(name);
    edge.type = type.str();
    edge.sqnr = sqnr;
    return edge;
  };
  addEdge("layer.0.a", "i8", 30.0);
  addEdge("layer.0.b", "i8", 25.25);
  addEdge("layer.0.c", "f32", std::nullopt).reason = "residual";
  addEdge("x", "f32", std::nullopt);
  report.getLayer("layer.1.l").outputSqnr = -3.5;
  std::string text;
  raw_string_ostream stream(text);
  report.writeSummary(stream);
  EXPECT_EQ(text, "edges: 2 of 4 quantized; 1 float: residual\n"
                  "layers: 0 of 1 quantized\n"
                  "signal over noise in dB, the worst of a block:\n"
                  "    edge  result\n"
                  "    25.2       -  layer.0\n"
                  "       -    -3.5  layer.1\n");
}

// The page holds the data, which cannot end its script.
TEST(ReportTest, HTML) {
  Report report;
  report.getEdge("</script><b>");
  std::string text;
  raw_string_ostream stream(text);
  report.writeHTML(stream);
  EXPECT_TRUE(StringRef(text).starts_with("<!DOCTYPE html>"));
  EXPECT_NE(text.find("\\u003c/script>\\u003cb>"), std::string::npos);
  EXPECT_EQ(text.find("REPORT_DATA"), std::string::npos);
  EXPECT_EQ(text.find("http://"), text.find("http://www.w3.org/2000/svg"));
  EXPECT_EQ(text.find("https://"), std::string::npos);
}

} // namespace
