//===- AMXInt8.cpp - AMX, bytes -------------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qtx/Kernel/MicroKernel.h"

using namespace mlir;
using namespace qtx;

/// A tile register: rows, and bytes of a row.
static constexpr int64_t kRows = 16;
static constexpr int64_t kBytes = 64;

/// Rows of tiles, one below the other.
static constexpr int64_t kTilesOfRows = 2;

namespace {

/// Emits what tile registers do with one matrix of sums.
class TileEmitter {
public:
  TileEmitter(ImplicitLocOpBuilder &b, const TileOperands &operands)
      : b(b), operands(operands),
        tileType(LLVM::LLVMX86AMXType::get(b.getContext())) {}

  SmallVector<Value> createSums(Value seed, ArrayRef<Value> indices) {
    SmallVector<Value> sums;
    for (int64_t i = 0; i < kTilesOfRows * operands.vectors; ++i) {
      if (!seed) {
        sums.push_back(call("tilezero", tileType, {}));
        continue;
      }
      // Rows that are no bytes apart are all the same.
      Value address = getAddress(seed, indices);
      sums.push_back(
          load(offset(address, i64(i % operands.vectors * kBytes)), i64(0)));
    }
    return sums;
  }

  /// A step takes as many channels as a row of the tile has bytes, and as many
  /// rows of the panel as the tile has.
  SmallVector<Value> emitStep(Value channel, Value weightOffset,
                              ValueRange sums) {
    Value weight = getAddress(operands.weight, {weightOffset});
    Value x = getAddress(operands.x, {operands.row, channel});
    Value xStride = getRowBytes(operands.x);
    Value weightStride = i64(operands.vectors * kBytes);
    // All loads come first, so that products of one step wait for none.
    SmallVector<Value> weights, rows, next;
    for (int64_t v = 0; v < operands.vectors; ++v)
      weights.push_back(load(offset(weight, i64(v * kBytes)), weightStride,
                             operands.isWeightPassing));
    for (int64_t r = 0; r < kTilesOfRows; ++r)
      rows.push_back(load(offset(x, mulI64(xStride, r * kRows)), xStride));
    for (int64_t r = 0; r < kTilesOfRows; ++r)
      for (int64_t v = 0; v < operands.vectors; ++v)
        next.push_back(call("tdpbusd", tileType,
                            {i16(kBytes), sums[r * operands.vectors + v],
                             rows[r], weights[v]}));
    return next;
  }

  void store(ValueRange sums) {
    Value to = getAddress(operands.sums, {operands.sumsRow, index(0)});
    Value stride = getRowBytes(operands.sums);
    for (int64_t r = 0; r < kTilesOfRows; ++r)
      for (int64_t v = 0; v < operands.vectors; ++v) {
        Value at =
            offset(offset(to, mulI64(stride, r * kRows)), i64(v * kBytes));
        call("tilestored64", {}, {at, stride, sums[r * operands.vectors + v]});
      }
  }

private:
  Value load(Value address, Value stride, bool isPassing = false) {
    return call(isPassing ? "tileloaddt164" : "tileloadd64", tileType,
                {address, stride});
  }

  /// An intrinsic on whole tiles; the shape comes before the other operands.
  Value call(StringRef name, Type result, ArrayRef<Value> rest) {
    SmallVector<Value> arguments = {i16(kRows), i16(kBytes)};
    arguments.append(rest.begin(), rest.end());
    auto intrinsic = b.getStringAttr("llvm.x86." + name.str() + ".internal");
    if (!result) {
      LLVM::CallIntrinsicOp::create(b, intrinsic, arguments);
      return {};
    }
    return LLVM::CallIntrinsicOp::create(b, result, intrinsic, arguments)
        .getResult(0);
  }

  //===--------------------------------------------------------------------===//
  // Addresses
  //===--------------------------------------------------------------------===//

  Value i16(int64_t value) {
    return arith::ConstantIntOp::create(b, value, 16);
  }
  Value i64(int64_t value) {
    return arith::ConstantIntOp::create(b, value, 64);
  }
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value toI64(Value value) {
    return arith::IndexCastOp::create(b, b.getI64Type(), value);
  }
  Value mulI64(Value lhs, int64_t rhs) {
    return arith::MulIOp::create(b, lhs, i64(rhs));
  }
  Value offset(Value address, Value bytes) {
    return LLVM::GEPOp::create(b, address.getType(), b.getI8Type(), address,
                               ArrayRef<LLVM::GEPArg>{bytes});
  }
  int64_t getElementBytes(Value memref) {
    return cast<MemRefType>(memref.getType()).getElementTypeBitWidth() / 8;
  }
  Value getRowBytes(Value memref) {
    auto metadata = memref::ExtractStridedMetadataOp::create(b, memref);
    return mulI64(toI64(metadata.getStrides()[0]), getElementBytes(memref));
  }

  Value getAddress(Value memref, ArrayRef<Value> indices) {
    auto metadata = memref::ExtractStridedMetadataOp::create(b, memref);
    Value at = metadata.getOffset();
    for (auto [i, position] : llvm::enumerate(indices))
      at = arith::AddIOp::create(
          b, at, arith::MulIOp::create(b, position, metadata.getStrides()[i]));
    Value base = toI64(
        memref::ExtractAlignedPointerAsIndexOp::create(b, memref).getResult());
    Value pointer = LLVM::IntToPtrOp::create(
        b, LLVM::LLVMPointerType::get(b.getContext()), base);
    return offset(pointer, mulI64(toI64(at), getElementBytes(memref)));
  }

  ImplicitLocOpBuilder &b;
  const TileOperands &operands;
  Type tileType;
};

const MicroKernel &getDotRow() { return *lookupMicroKernel("x86-avx512-vnni"); }

/// Tiles of 32 rows; what they leave takes VPDPBUSD, which reads the same
/// panels.
class AMXInt8 : public MicroKernel {
public:
  StringRef getName() const override { return "x86-amx-int8"; }
  bool isSupported(const TargetFeatures &features) const override {
    return features.has("amx-int8") && features.has("amx-tile") &&
           getDotRow().isSupported(features);
  }
  MicroKernelOperands getOperands() const override {
    return MicroKernelOperands::U8S8;
  }
  int64_t getProductsPerCycle() const override { return 1024; }
  int64_t getNumLanes() const override { return 16; }
  int64_t getNumRows() const override { return 8; }
  // Four tiles of sums, two of the input, two of the weight: all eight.
  int64_t getNumVectors() const override { return 2; }
  Value emitDot(ImplicitLocOpBuilder &builder, Value sums, Value x,
                Value weight) const override {
    return getDotRow().emitDot(builder, sums, x, weight);
  }
  int64_t getTableSize() const override { return getDotRow().getTableSize(); }
  Value emitLookup(ImplicitLocOpBuilder &builder, ArrayRef<float> table,
                   Value indices) const override {
    return getDotRow().emitLookup(builder, table, indices);
  }

  Value emitScaled(ImplicitLocOpBuilder &builder, Value values,
                   Value exponents) const override {
    return getDotRow().emitScaled(builder, values, exponents);
  }

  bool packs() const override { return getDotRow().packs(); }
  Value emitPacked(ImplicitLocOpBuilder &builder, ValueRange vectors,
                   ValueRange offsets, bool isSigned) const override {
    return getDotRow().emitPacked(builder, vectors, offsets, isSigned);
  }

  int64_t getNumTileRows() const override { return kTilesOfRows * kRows; }
  int64_t getTileStep() const override { return kBytes; }
  SmallVector<Value> createTileSums(ImplicitLocOpBuilder &builder,
                                    const TileOperands &operands, Value seed,
                                    ArrayRef<Value> indices) const override {
    return TileEmitter(builder, operands).createSums(seed, indices);
  }
  SmallVector<Value> emitTileStep(ImplicitLocOpBuilder &builder,
                                  const TileOperands &operands, Value channel,
                                  Value offset,
                                  ValueRange sums) const override {
    return TileEmitter(builder, operands).emitStep(channel, offset, sums);
  }
  void storeTileSums(ImplicitLocOpBuilder &builder,
                     const TileOperands &operands,
                     ValueRange sums) const override {
    TileEmitter(builder, operands).store(sums);
  }
};

} // namespace

QTX_DEFINE_MICRO_KERNEL(AMXInt8)
