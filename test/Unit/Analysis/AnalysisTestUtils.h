//===- AnalysisTestUtils.h - Models and data of the tests -------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TEST_UNIT_ANALYSIS_ANALYSISTESTUTILS_H
#define QTX_TEST_UNIT_ANALYSIS_ANALYSISTESTUTILS_H

#include "mlir/Parser/Parser.h"
#include "qtx/Analysis/CalibrationData.h"
#include "qtx/InitAll.h"
#include "gtest/gtest.h"
#include <cstring>

namespace qtx {

/// Parses functions and makes arrays.
class AnalysisTest : public ::testing::Test {
protected:
  AnalysisTest() : context(makeRegistry()) {}

  mlir::func::FuncOp parse(llvm::StringRef text) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    return *module->getOps<mlir::func::FuncOp>().begin();
  }

  template <typename T>
  static NamedArray makeArray(llvm::StringRef name, NpyKind kind,
                              llvm::ArrayRef<int64_t> shape,
                              llvm::ArrayRef<T> values) {
    NpyArray array = llvm::cantFail(createArray(kind, sizeof(T), shape));
    EXPECT_EQ(array.getNumElements(), values.size());
    if (!values.empty())
      std::memcpy(array.data.get(), values.data(), array.getNumBytes());
    return {name.str(), std::move(array)};
  }
  static NamedArray floats(llvm::StringRef name, llvm::ArrayRef<int64_t> shape,
                           llvm::ArrayRef<float> values) {
    return makeArray<float>(name, NpyKind::Float, shape, values);
  }
  static NamedArray ints(llvm::StringRef name, llvm::ArrayRef<int64_t> shape,
                         llvm::ArrayRef<int64_t> values) {
    return makeArray<int64_t>(name, NpyKind::Int, shape, values);
  }
  /// `count` arrays into one list; an initializer list cannot move.
  template <typename... Arrays>
  static std::vector<NamedArray> list(Arrays &&...arrays) {
    std::vector<NamedArray> result;
    (result.push_back(std::move(arrays)), ...);
    return result;
  }

  llvm::Expected<CalibrationData>
  create(mlir::func::FuncOp function, std::vector<NamedArray> arrays,
         const CalibrationDataOptions &options = {}) {
    warnings.clear();
    return CalibrationData::create(
        function, std::move(arrays),
        [&](const llvm::Twine &text) { warnings.push_back(text.str()); },
        options);
  }
  std::string getError(mlir::func::FuncOp function,
                       std::vector<NamedArray> arrays) {
    auto data = create(function, std::move(arrays));
    return data ? "no error" : llvm::toString(data.takeError());
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::vector<std::string> warnings;

private:
  static mlir::DialectRegistry makeRegistry() {
    mlir::DialectRegistry registry;
    registerDialects(registry);
    return registry;
  }
};

} // namespace qtx

#endif // QTX_TEST_UNIT_ANALYSIS_ANALYSISTESTUTILS_H
