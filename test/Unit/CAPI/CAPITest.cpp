//===- CAPITest.cpp - Tests of the C interface ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx-c/Qtx.h"
#include "gtest/gtest.h"
#include <cstring>
#include <string>
#include <vector>

extern "C" int useHeaderFromC(void);

namespace {

constexpr char kText[] = R"mlir(
  func.func @main(%x: tensor<?x2xi32> {qtx.name = "codes"}) -> (tensor<?x2xi32>, i4) {
    %c = arith.constant -3 : i4
    return %x, %c : tensor<?x2xi32>, i4
  }
)mlir";

class CAPITest : public ::testing::Test {
protected:
  CAPITest() {
    handler.callback = [](QtxSeverity, const char *text, void *userData) {
      static_cast<CAPITest *>(userData)->messages.push_back(text);
    };
    handler.userData = this;
  }
  ~CAPITest() override {
    qtxProgramDestroy(program);
    qtxModuleDestroy(module);
  }

  QtxStatus parse(const char *text) {
    return qtxModuleParse(text, std::strlen(text), "test", &handler, &module);
  }
  void compile() {
    ASSERT_EQ(parse(kText), QTX_STATUS_OK);
    ASSERT_EQ(
        qtxProgramCreate(module, QTX_LOWERING_REFERENCE, 2, &handler, &program),
        QTX_STATUS_OK);
  }

  QtxDiagnosticHandler handler;
  std::vector<std::string> messages;
  QtxModule *module = nullptr;
  QtxProgram *program = nullptr;
};

TEST_F(CAPITest, HeaderIsC) { EXPECT_EQ(useHeaderFromC(), QTX_API_VERSION); }

TEST_F(CAPITest, Signature) {
  compile();
  EXPECT_EQ(qtxProgramGetNumFunctions(program), 1u);
  EXPECT_STREQ(qtxProgramGetFunctionName(program, 0), "main");
  EXPECT_EQ(qtxProgramGetFunctionName(program, 1), nullptr);
  size_t count;
  ASSERT_EQ(qtxProgramGetNumInputs(program, "main", &handler, &count),
            QTX_STATUS_OK);
  EXPECT_EQ(count, 1u);
  ASSERT_EQ(qtxProgramGetNumOutputs(program, "main", &handler, &count),
            QTX_STATUS_OK);
  EXPECT_EQ(count, 2u);
  QtxValueInfo info;
  ASSERT_EQ(qtxProgramGetInput(program, "main", 0, &handler, &info),
            QTX_STATUS_OK);
  EXPECT_STREQ(info.name, "codes");
  EXPECT_EQ(info.element, QTX_ELEMENT_I32);
  ASSERT_EQ(info.rank, 2u);
  EXPECT_LT(info.shape[0], 0);
  EXPECT_EQ(info.shape[1], 2);
  ASSERT_EQ(qtxProgramGetOutput(program, "main", 1, &handler, &info),
            QTX_STATUS_OK);
  EXPECT_STREQ(info.name, "out1");
  EXPECT_EQ(info.element, QTX_ELEMENT_I4);
  EXPECT_EQ(info.rank, 0u);
  EXPECT_TRUE(messages.empty());
}

TEST_F(CAPITest, Invoke) {
  compile();
  const int32_t data[] = {1, -2, 3, 4};
  const int64_t shape[] = {2, 2};
  QtxBuffer input = {data, QTX_ELEMENT_I32, 2, shape};
  QtxResults *results = nullptr;
  ASSERT_EQ(qtxProgramInvoke(program, "main", &input, 1, &handler, &results),
            QTX_STATUS_OK);
  ASSERT_EQ(qtxResultsGetCount(results), 2u);
  QtxBuffer output;
  ASSERT_EQ(qtxResultsGet(results, 0, &output), QTX_STATUS_OK);
  EXPECT_EQ(output.rank, 2u);
  EXPECT_NE(output.data, data);
  EXPECT_EQ(0, std::memcmp(output.data, data, sizeof(data)));
  ASSERT_EQ(qtxResultsGet(results, 1, &output), QTX_STATUS_OK);
  EXPECT_EQ(*static_cast<const int8_t *>(output.data), -3);
  EXPECT_EQ(qtxResultsGet(results, 2, &output), QTX_STATUS_INVALID_ARGUMENT);
  qtxResultsDestroy(results);
}

TEST_F(CAPITest, BadInputs) {
  compile();
  const int64_t shape[] = {1, 3}, negative[] = {-1, 2};
  const int64_t huge[] = {INT64_MAX, 2};
  const int32_t data[] = {1, 2, 3};
  QtxResults *results = nullptr;
  auto invoke = [&](QtxBuffer input) {
    messages.clear();
    return qtxProgramInvoke(program, "main", &input, 1, &handler, &results);
  };
  EXPECT_EQ(invoke({data, QTX_ELEMENT_I32, 2, shape}),
            QTX_STATUS_INVALID_INPUT);
  EXPECT_EQ(messages, std::vector<std::string>{
                          "function 'main', argument 0 ('codes'): expected "
                          "?x2xi32, found 1x3xi32"});
  EXPECT_EQ(invoke({data, QTX_ELEMENT_I32, 2, negative}),
            QTX_STATUS_INVALID_INPUT);
  EXPECT_EQ(invoke({data, QTX_ELEMENT_I32, 2, huge}), QTX_STATUS_INVALID_INPUT);
  EXPECT_EQ(messages, std::vector<std::string>{
                          "function 'main', argument 0 ('codes'): shape "
                          "9223372036854775807x2xi32 is too large"});
  EXPECT_EQ(invoke({data, static_cast<QtxElement>(99), 2, shape}),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(invoke({data, QTX_ELEMENT_I32, 2, nullptr}),
            QTX_STATUS_INVALID_ARGUMENT);
  const int64_t some[] = {1, 2};
  EXPECT_EQ(invoke({nullptr, QTX_ELEMENT_I32, 2, some}),
            QTX_STATUS_INVALID_INPUT);
  EXPECT_EQ(results, nullptr);
}

TEST_F(CAPITest, Errors) {
  EXPECT_EQ(parse("func.func @f("), QTX_STATUS_PARSE_ERROR);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].rfind("test:1:13: ", 0), 0u);
  EXPECT_EQ(module, nullptr);

  ASSERT_EQ(parse("func.func private @f()"), QTX_STATUS_OK);
  EXPECT_EQ(
      qtxProgramCreate(module, QTX_LOWERING_REFERENCE, 2, &handler, &program),
      QTX_STATUS_COMPILE_ERROR);
  EXPECT_EQ(messages.back(), "function 'f' has no body");
  EXPECT_EQ(
      qtxProgramCreate(module, QTX_LOWERING_REFERENCE, 4, &handler, &program),
      QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(messages.back(),
            "expected an optimization level from 0 to 3, found 4");
  EXPECT_EQ(qtxModuleRunPasses(module, "func.func(cse)", &handler),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(messages.back(), "expected a pipeline on builtin.module");
}

TEST_F(CAPITest, PassesAndPrint) {
  ASSERT_EQ(parse("func.func @f() { %c = arith.constant 1 : i32 return }"),
            QTX_STATUS_OK);
  ASSERT_EQ(
      qtxModuleRunPasses(module, "builtin.module(canonicalize)", &handler),
      QTX_STATUS_OK);
  std::string text;
  auto append = [](const char *piece, size_t length, void *userData) {
    static_cast<std::string *>(userData)->append(piece, length);
  };
  ASSERT_EQ(qtxModulePrint(module, append, &text), QTX_STATUS_OK);
  EXPECT_EQ(text.find("arith.constant"), std::string::npos);
  EXPECT_NE(text.find("func.func @f()"), std::string::npos);
}

// Null anywhere is an error, without a handler too.
TEST_F(CAPITest, Null) {
  compile();
  size_t count;
  EXPECT_EQ(qtxModuleParse(nullptr, 0, nullptr, nullptr, &module),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(qtxModuleParse(kText, 0, nullptr, nullptr, nullptr),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(qtxModuleRunPasses(nullptr, "", &handler),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(messages.back(), "null pointer");
  EXPECT_EQ(qtxModulePrint(module, nullptr, nullptr),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(
      qtxProgramCreate(nullptr, QTX_LOWERING_REFERENCE, 2, nullptr, &program),
      QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(qtxProgramGetNumFunctions(nullptr), 0u);
  EXPECT_EQ(qtxProgramGetNumInputs(program, nullptr, &handler, &count),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(qtxProgramGetNumInputs(program, "main", &handler, nullptr),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(qtxProgramGetInput(program, "main", 0, &handler, nullptr),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(qtxProgramInvoke(program, "main", nullptr, 1, nullptr, nullptr),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(qtxResultsGetCount(nullptr), 0u);
  EXPECT_EQ(qtxResultsGet(nullptr, 0, nullptr), QTX_STATUS_INVALID_ARGUMENT);
  qtxResultsDestroy(nullptr);
}

TEST_F(CAPITest, Model) {
  ASSERT_EQ(parse(kText), QTX_STATUS_OK);
  const QtxOption options[] = {{"recipe", "none"}, {"reference", nullptr}};
  QtxModel *model = nullptr;
  ASSERT_EQ(qtxModelCompile(module, options, 2, nullptr, &handler, &model),
            QTX_STATUS_OK);
  EXPECT_NE(std::string(qtxModelGetSignature(model)).find("\"codes\""),
            std::string::npos);
  EXPECT_NE(qtxModelGetReport(model), nullptr);
  const int32_t data[] = {1, -2, 3, 4};
  const int64_t shape[] = {2, 2};
  QtxBuffer input = {nullptr, QTX_ELEMENT_I32, 2, shape};
  int64_t dims[1], sizes[2];
  ASSERT_EQ(qtxModelGetDims(model, &input, 1, &handler, dims), QTX_STATUS_OK);
  EXPECT_EQ(dims[0], 2);
  ASSERT_EQ(qtxModelGetOutputShape(model, 0, dims, &handler, sizes),
            QTX_STATUS_OK);
  EXPECT_EQ(sizes[0], 2);
  EXPECT_EQ(sizes[1], 2);
  int32_t codes[4] = {};
  int8_t constant = 0;
  const void *inputs[] = {data};
  void *outputs[] = {codes, &constant};
  ASSERT_EQ(qtxModelRun(model, inputs, outputs, dims, &handler), QTX_STATUS_OK);
  EXPECT_EQ(0, std::memcmp(codes, data, sizeof(data)));
  EXPECT_EQ(constant, -3);

  input.rank = 1;
  EXPECT_EQ(qtxModelGetDims(model, &input, 1, &handler, dims),
            QTX_STATUS_INVALID_INPUT);
  EXPECT_EQ(qtxModelGetOutputShape(model, 2, dims, &handler, sizes),
            QTX_STATUS_INVALID_ARGUMENT);
  dims[0] = 0;
  EXPECT_EQ(qtxModelRun(model, inputs, outputs, dims, &handler),
            QTX_STATUS_INVALID_INPUT);
  qtxModelDestroy(model);
}

TEST_F(CAPITest, ModelErrors) {
  ASSERT_EQ(parse(kText), QTX_STATUS_OK);
  QtxModel *model = nullptr;
  QtxOption option = {"no-such", "1"};
  EXPECT_EQ(qtxModelCompile(module, &option, 1, nullptr, &handler, &model),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(messages, std::vector<std::string>{"no-such: unknown option"});
  EXPECT_EQ(qtxModuleCalibrate(module, nullptr, 0, nullptr, &handler),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(messages.back(), "calibrate: expected samples to observe");
  EXPECT_EQ(qtxModuleCalibrate(nullptr, nullptr, 0, nullptr, &handler),
            QTX_STATUS_INVALID_ARGUMENT);
  option.name = nullptr;
  EXPECT_EQ(qtxModelCompile(module, &option, 1, nullptr, &handler, &model),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(qtxModelLoad("missing.o", &handler, &model),
            QTX_STATUS_PARSE_ERROR);
  QtxModule *loaded = nullptr;
  EXPECT_EQ(qtxModuleLoad("missing.onnx", &handler, &loaded),
            QTX_STATUS_PARSE_ERROR);
  EXPECT_EQ(model, nullptr);
  EXPECT_EQ(loaded, nullptr);
  EXPECT_EQ(qtxModelRun(nullptr, nullptr, nullptr, nullptr, &handler),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(qtxModelSave(nullptr, "model.o", nullptr),
            QTX_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(qtxModelGetSignature(nullptr), nullptr);
  qtxModelDestroy(nullptr);
}

} // namespace
