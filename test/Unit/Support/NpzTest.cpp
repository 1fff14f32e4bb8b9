//===- NpzTest.cpp - Tests of NumPy archives ------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/Npz.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <cstring>
#include <random>

using namespace llvm;
using namespace qtx;

namespace {

class NpzTest : public ::testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(sys::fs::createUniqueDirectory("qtx-npz", folder));
    path = folder;
    sys::path::append(path, "arrays.npz");
  }
  void TearDown() override { sys::fs::remove_directories(folder); }

  std::string readFile() {
    auto buffer = MemoryBuffer::getFile(path);
    EXPECT_TRUE(bool(buffer));
    return (*buffer)->getBuffer().str();
  }
  void writeFile(StringRef bytes) {
    std::error_code code;
    raw_fd_ostream(path, code) << bytes;
    ASSERT_FALSE(code);
  }

  SmallString<128> folder, path;
};

template <typename T>
NamedArray makeArray(StringRef name, NpyKind kind, ArrayRef<int64_t> shape,
                     ArrayRef<T> values) {
  NpyArray array = cantFail(createArray(kind, sizeof(T), shape));
  EXPECT_EQ(array.getNumElements(), values.size());
  llvm::copy(llvm::ArrayRef<char>(reinterpret_cast<const char *>(values.data()),
                                  array.getNumBytes()),
             array.data.get());
  return {name.str(), std::move(array)};
}

std::vector<NamedArray> makeArrays() {
  std::vector<NamedArray> arrays;
  arrays.push_back(makeArray<float>("x", NpyKind::Float, {2, 2},
                                    {1.0f, -2.5f, 3.0f, -0.0f}));
  arrays.push_back(makeArray<int64_t>("n/0", NpyKind::Int, {}, {-7}));
  arrays.push_back(makeArray<uint8_t>("b", NpyKind::Bool, {3}, {1, 0, 1}));
  arrays.push_back(makeArray<uint16_t>("e", NpyKind::UInt, {0, 5}, {}));
  return arrays;
}

TEST_F(NpzTest, RoundTrip) {
  std::vector<NamedArray> written = makeArrays();
  ASSERT_FALSE(bool(writeNpz(path, written)));
  auto read = readNpz(path);
  ASSERT_TRUE(bool(read));
  ASSERT_EQ(read->size(), written.size());
  for (size_t i = 0; i < written.size(); ++i) {
    const NpyArray &expected = written[i].array, &found = (*read)[i].array;
    EXPECT_EQ((*read)[i].name, written[i].name);
    EXPECT_EQ(found.getTypeName(), expected.getTypeName());
    EXPECT_EQ(found.shape, expected.shape);
    EXPECT_EQ(0, std::memcmp(found.data.get(), expected.data.get(),
                             expected.getNumBytes()));
  }
}

TEST_F(NpzTest, SameArraysGiveSameFile) {
  ASSERT_FALSE(bool(writeNpz(path, makeArrays())));
  std::string first = readFile();
  ASSERT_FALSE(bool(writeNpz(path, makeArrays())));
  EXPECT_EQ(first, readFile());
}

TEST_F(NpzTest, EmptyArchive) {
  ASSERT_FALSE(bool(writeNpz(path, {})));
  auto read = readNpz(path);
  ASSERT_TRUE(bool(read));
  EXPECT_TRUE(read->empty());
}

TEST_F(NpzTest, Names) {
  EXPECT_EQ(makeArrays()[0].array.getShapeName(), "(2, 2)");
  EXPECT_EQ(makeArrays()[1].array.getShapeName(), "()");
  EXPECT_EQ(makeArrays()[2].array.getShapeName(), "(3,)");
  EXPECT_EQ(makeArrays()[3].array.getTypeName(), "uint16");
}

TEST_F(NpzTest, TooLargeToCreate) {
  const std::vector<int64_t> shapes[] = {{INT64_MAX, 2}, {int64_t(1) << 38}};
  for (const auto &shape : shapes)
    EXPECT_EQ(toString(createArray(NpyKind::Float, 8, shape).takeError()),
              "the shape is too large");
}

TEST_F(NpzTest, SameNameTwice) {
  std::vector<NamedArray> arrays;
  arrays.push_back(makeArray<int8_t>("aa", NpyKind::Int, {1}, {1}));
  arrays.push_back(makeArray<int8_t>("ab", NpyKind::Int, {1}, {1}));
  ASSERT_FALSE(bool(writeNpz(path, arrays)));
  std::string bytes = readFile();
  for (size_t at; (at = bytes.find("ab.npy")) != std::string::npos;)
    bytes[at + 1] = 'a';
  writeFile(bytes);
  EXPECT_TRUE(StringRef(toString(readNpz(path).takeError()))
                  .ends_with("'aa' appears twice"));
}

// Damaged files are read or refused, never more.
TEST_F(NpzTest, DamagedFiles) {
  ASSERT_FALSE(bool(writeNpz(path, makeArrays())));
  const std::string good = readFile();
  std::mt19937 random(1);
  unsigned refused = 0;
  for (unsigned i = 0; i < 300; ++i) {
    std::string bytes = good;
    for (unsigned n = 1 + random() % 4; n > 0; --n)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    if (i % 8 == 0)
      bytes.resize(random() % bytes.size());
    writeFile(bytes);
    auto read = readNpz(path);
    refused += !read;
    if (!read)
      EXPECT_FALSE(toString(read.takeError()).empty());
  }
  EXPECT_GT(refused, 150u);
}

} // namespace
