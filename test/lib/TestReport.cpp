//===- TestReport.cpp - Write reports of models, for tests ----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestPasses.h"
#include "mlir/Pass/Pass.h"
#include "qtx/Analysis/Measure.h"
#include "qtx/Support/OutputFiles.h"

using namespace mlir;
using namespace qtx;

namespace {

/// Writes a report of the quantized function `main` of a module whose function
/// `model` is its float form, with the ranges that it carries.
struct TestReportPass : PassWrapper<TestReportPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TestReportPass)

  TestReportPass() = default;
  TestReportPass(const TestReportPass &other) : PassWrapper(other) {}

  StringRef getArgument() const override { return "test-qtx-report"; }
  StringRef getDescription() const override {
    return "write a report of a float and a quantized function";
  }

  void runOnOperation() override {
    if (llvm::Error error = report()) {
      getOperation().emitError() << llvm::toString(std::move(error));
      signalPassFailure();
    }
    markAllAnalysesPreserved();
  }

private:
  llvm::Error report() {
    auto model = getOperation().lookupSymbol<func::FuncOp>("model");
    auto quantized = getOperation().lookupSymbol<func::FuncOp>("main");
    Report report;
    report.model = "test";
    report.recipe = "none";
    reportModel(model, report);
    reportQuantization(quantized, report);
    reportWeightErrors(model, quantized, report);
    if (!data.empty()) {
      auto read = CalibrationData::read(model, data, [](const Twine &) {});
      if (!read)
        return read.takeError();
      report.calibration = {"data.npz", "min_max", read->getNumSamples(),
                            read->getNumPositions(), read->getNumFeeds()};
      if (llvm::Error error = measureNoise(model, quantized, *read, {}, report))
        return error;
    }
    OutputFiles files;
    llvm::Error error = writeReport(report, output, files);
    return error ? std::move(error) : files.keep();
  }

  Option<std::string> data{*this, "data", llvm::cl::desc("Archive of samples")};
  Option<std::string> output{*this, "output", llvm::cl::desc("File to write")};
};

} // namespace

void qtx::registerTestReportPass() { PassRegistration<TestReportPass>(); }
