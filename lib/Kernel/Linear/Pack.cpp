//===- Pack.cpp - Lay out the constants of qtx.linear ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../../Dialect/Qtx/Transforms/ConstantUtils.h"
#include "../ActivationTable.h"
#include "../PackedConstants.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Kernel/Kernels.h"
#include "qtx/Kernel/MicroKernel.h"
#include "qtx/Kernel/Passes.h"
#include "qtx/Kernel/Threads.h"

namespace qtx {
#define GEN_PASS_DEF_QTXPACKPASS
#include "qtx/Kernel/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

/// What is added to signed bytes for an instruction that takes unsigned ones,
/// and taken from unsigned bytes for one that takes signed ones.
static constexpr int64_t kUnsignedOffset = 128;

namespace {

/// Packs one `qtx.linear`.
class LinearPacker {
public:
  LinearPacker(LinearOp op, MicroKernelAttr config)
      : op(op), config(config), row(*lookupMicroKernel(config.getKernel())),
        builder(op), loc(op.getLoc()), size(op.getContractedSize()),
        outputs(op.getNumOutputs()), segments(op.getSegments()),
        input(getQuantParams(op, op.getQuantEdges()[0])),
        // Only bytes are made of nibbles in registers.
        hasNibbles(op->hasAttr(kNibblesAttrName) && row.getStep() == 4) {
    // Float inputs have one segment; blocks of the weight are dequantized.
    if (!input)
      segments = {{0, size, 0, 0}};
    if (op.getIntegerJoin() && segments.size() > 1) {
      joinMultipliers = op.getJoinMultipliers();
      hasNibbles = false;
    }
  }

  /// The kernel that replaces the operation.
  Value pack() {
    SmallVector<Value> operands;
    SmallVector<int32_t> counts;
    auto add = [&](Value value) {
      counts.push_back(bool(value));
      if (value)
        operands.push_back(value);
    };
    add(convertInput());
    add(input && input->isDynamic() ? op.getXScale() : Value());
    add(hasDynamicZeroPoints() ? op.getXZeroPoint() : Value());
    add(row.isFloat() ? packWeight(getFloatWeight())
                      : packWeight(getIntegerWeight()));
    isBounded = isResultBounded();
    if (isBounded)
      activationUnit =
          findActivationUnit(op.getActivation(), row, getCodesPerUnit());
    float unit = activationUnit.value_or(1);
    add(packInUnits(builder, loc, packScales(), unit));
    add(packInUnits(builder, loc, op.getBias(), unit));
    add(packSeed());
    auto result = getQuantParams(op, op.getQuantEdges()[1]);
    add(result ? packReciprocals(builder, loc, *result, unit) : Value());
    add(result ? packZeroPoints(builder, loc, *result) : Value());
    auto kernel =
        KernelOp::create(builder, loc, op.getY().getType(), "qtx.linear",
                         operands, createDestination(), getParams(counts));
    if (std::vector<double> bounds = getMagnitudes(); !bounds.empty())
      kernel->setAttr(kMagnitudeAttrName,
                      builder.getF64FloatAttr(llvm::max_element(bounds)[0]));
    return kernel.getResult(0);
  }

private:
  //===--------------------------------------------------------------------===//
  // Input and result
  //===--------------------------------------------------------------------===//

  /// Whether sums start from a product with run-time zero points. A seed
  /// replaces them.
  bool hasDynamicZeroPoints() {
    return input && input->isDynamic() && op.getXZeroPoint() && !op.getSeed();
  }

  /// What has to be added to elements of `x` for the micro-kernel.
  int64_t getInputOffset() {
    MicroKernelOperands operands = row.getOperands();
    if (operands == MicroKernelOperands::U8S8 && input->isSigned())
      return kUnsignedOffset;
    if (operands == MicroKernelOperands::S8S8 && !input->isSigned())
      return -kUnsignedOffset;
    return 0;
  }

  /// `x` with the elements that the micro-kernel multiplies.
  Value convertInput() {
    Value x = op.getX();
    Type elementType = row.getElementType(op.getContext());
    bool isWide = row.getOperands() == MicroKernelOperands::S16S16;
    if (!isWide && (!input || getInputOffset() == 0))
      return x;
    bool isSigned = input->isSigned();
    return createElementwise(
        x, elementType, [&](OpBuilder &b, Location loc, Value value) -> Value {
          if (isWide && isSigned)
            return arith::ExtSIOp::create(b, loc, elementType, value);
          if (isWide)
            return arith::ExtUIOp::create(b, loc, elementType, value);
          // Adds or takes 128: the highest bit has no carry to hand on.
          Value bit = arith::ConstantIntOp::create(b, loc, -128, 8);
          return arith::XOrIOp::create(b, loc, value, bit);
        });
  }

  Value
  createElementwise(Value x, Type elementType,
                    function_ref<Value(OpBuilder &, Location, Value)> body) {
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, x);
    Value init = tensor::EmptyOp::create(builder, loc, sizes, elementType);
    SmallVector<AffineMap> maps(2,
                                builder.getMultiDimIdentityMap(sizes.size()));
    SmallVector<utils::IteratorType> iterators(sizes.size(),
                                               utils::IteratorType::parallel);
    auto generic = linalg::GenericOp::create(
        builder, loc, init.getType(), x, init, maps, iterators,
        [&](OpBuilder &b, Location loc, ValueRange args) {
          linalg::YieldOp::create(b, loc, body(b, loc, args[0]));
        });
    return generic.getResult(0);
  }

  Value createDestination() {
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(builder, loc, op.getX());
    sizes.back() = builder.getIndexAttr(outputs);
    auto type = op.getY().getType();
    Value empty =
        tensor::EmptyOp::create(builder, loc, sizes, type.getElementType());
    if (empty.getType() == type)
      return empty;
    return tensor::CastOp::create(builder, loc, type, empty);
  }

  DictionaryAttr getParams(ArrayRef<int32_t> operandCounts) {
    SmallVector<int64_t> sizes, groups;
    for (const Segment &segment : segments) {
      sizes.push_back(segment.size);
      groups.push_back(segment.group);
    }
    SmallVector<NamedAttribute> attrs = {
        {"activation", op.getActivationAttr()},
        {"config", config},
        {"operandSegmentSizes", builder.getDenseI32ArrayAttr(operandCounts)},
        {"segments", builder.getDenseI64ArrayAttr(sizes)},
    };
    auto add = [&](StringRef name, Attribute attr) {
      attrs.emplace_back(builder.getStringAttr(name), attr);
    };
    if (Attribute partition = op->getAttr(kPartitionAttrName))
      add(kPartitionParam, partition);
    if (input && input->isDynamic())
      add("groups", builder.getDenseI64ArrayAttr(groups));
    if (!joinMultipliers.empty())
      add(kJoinMultipliersParam, builder.getDenseI64ArrayAttr(joinMultipliers));
    if (hasDynamicZeroPoints() && getInputOffset() != 0)
      add("input_offset", builder.getI64IntegerAttr(getInputOffset()));
    if (auto params = getQuantParams(op, op.getQuantEdges()[1]))
      add("result_range",
          builder.getDenseI64ArrayAttr(
              {params->getStorageMin(), params->getStorageMax()}));
    if (isBounded)
      add("bounded", builder.getUnitAttr());
    if (activationUnit)
      add(kTabulatedAttrName, builder.getUnitAttr());
    if (hasNibbles)
      addNibbleParams(add);
    return builder.getDictionaryAttr(attrs);
  }

  void addNibbleParams(function_ref<void(StringRef, Attribute)> add) {
    add(kNibblesParam, builder.getUnitAttr());
    if (getSumFactor() > 1 && !areScalesDivided())
      add("sum_factor", builder.getI64IntegerAttr(getSumFactor()));
    if (!hasDynamicZeroPoints() &&
        llvm::all_equal(llvm::map_range(segments, [&](const Segment &segment) {
          return getZeroPoint(segment);
        })))
      add("zero_point",
          builder.getI64IntegerAttr(getZeroPoint(segments.front())));
  }

  /// Whether no input makes a quotient by the scale of the result that does not
  /// fit an integer: then the kernel need not clamp before it rounds.
  bool isResultBounded() {
    auto result = getQuantParams(op, op.getQuantEdges()[1]);
    std::vector<double> bounds = getMagnitudes();
    if (!result || bounds.empty())
      return false;
    SmallVector<int64_t> groups(outputs, 0);
    if (result->isGrouped())
      groups = result->getGroupOfChannel();
    return llvm::all_of_zip(bounds, groups, [&](double bound, int64_t group) {
      return bound / result->getScale(group) < kMaxQuotient;
    });
  }

  /// The finest scale of the result, inverted.
  double getCodesPerUnit() {
    auto result = getQuantParams(op, op.getQuantEdges()[1]);
    double codes = 0;
    for (int64_t group = 0; group < result->getNumGroups(); ++group)
      codes = std::max(codes, 1.0 / result->getScale(group));
    return codes;
  }

  /// What each output can come to; empty if inputs do not tell. Activations do
  /// not make values larger.
  std::vector<double> getMagnitudes() {
    auto bias = ConstantTensor::get(op.getBias());
    if (!input || input->isDynamic() || op.getSeed() ||
        (op.getBias() && (!bias || bias->getType().getRank() != 1)))
      return {};
    std::vector<double> bounds(outputs);
    if (bias)
      for (auto [bound, value] : llvm::zip_equal(bounds, bias->getFloats()))
        bound = std::abs(value);
    addMagnitudes(bounds);
    return bounds;
  }

  /// Adds what the products of each output can come to.
  void addMagnitudes(std::vector<double> &bounds) {
    std::vector<int64_t> weight = getIntegerWeight();
    std::vector<float> scales =
        ConstantTensor::get(op.getWeightScale())->getFloats();
    double range = input->getStorageMax() - input->getStorageMin();
    for (const Segment &segment : segments)
      for (int64_t n = 0; n < outputs; ++n) {
        double sum = 0;
        for (int64_t k = 0; k < segment.size; ++k)
          sum += std::abs(double(weight[n * size + segment.offset + k]));
        bounds[n] += sum * range * input->getScale(segment.group) *
                     std::abs(getWeightScale(scales, n, segment.block));
      }
  }

  //===--------------------------------------------------------------------===//
  // Weights
  //===--------------------------------------------------------------------===//

  std::vector<int64_t> getIntegerWeight() {
    return ConstantTensor::get(op.getWeight())->getIntegers();
  }

  /// The scale of one block of the weight and one output.
  float getWeightScale(ArrayRef<float> scales, int64_t output, int64_t block) {
    if (scales.size() == 1)
      return scales[0];
    auto type = cast<RankedTensorType>(op.getWeightScale().getType());
    int64_t blocks = type.getRank() == 2 ? type.getDimSize(1) : 1;
    return scales[output * blocks + (type.getRank() == 2 ? block : 0)];
  }

  std::vector<float> getFloatWeight() {
    auto weight = *ConstantTensor::get(op.getWeight());
    if (weight.getType().getElementType().isF32())
      return weight.getFloats();
    std::vector<float> scales =
        ConstantTensor::get(op.getWeightScale())->getFloats();
    std::vector<int64_t> integers = weight.getIntegers();
    std::vector<float> result(integers.size());
    int64_t block = op.getWeightBlock().value_or(size);
    for (int64_t n = 0; n < outputs; ++n)
      for (int64_t k = 0; k < size; ++k)
        result[n * size + k] = float(integers[n * size + k]) *
                               getWeightScale(scales, n, k / block);
    return result;
  }

  /// The weight in panels. The last one is as narrow as whole vectors allow.
  template <typename T> Value packWeight(const std::vector<T> &weight) {
    if constexpr (std::is_same_v<T, float>)
      return packPanels<float>(weight);
    else if (hasNibbles)
      return packNibblePanels(weight);
    else
      return packPanels<int8_t>(weight);
  }

  template <typename Packed, typename T>
  Value packPanels(const std::vector<T> &weight) {
    std::vector<Packed> packed;
    forEachPanel([&](int64_t first, int64_t width) {
      for (const Segment &segment : segments)
        packSegment(weight, segment, first, width, packed);
    });
    return createTensor<Packed>(builder, loc, {int64_t(packed.size())},
                                row.getPackedType(op.getContext()), packed);
  }

  /// Calls `body` with the first output and the width of each panel, which is
  /// that of whole vectors.
  void forEachPanel(function_ref<void(int64_t, int64_t)> body) {
    int64_t lanes = row.getNumLanes();
    int64_t width = config.getVectors() * lanes;
    for (int64_t first = 0; first < outputs; first += width)
      body(first, llvm::alignTo(std::min(width, outputs - first), lanes));
  }

  /// A word for each lane and `kNibbles` channels. The word is a lane's worth
  /// of neighbours for one dot product, whose elements hold the nibbles of
  /// several: those of the first one lowest. Where sums are short they are not
  /// negative, but 8 larger.
  void packNibbles(const std::vector<int64_t> &weight, const Segment &segment,
                   int64_t first, int64_t width,
                   std::vector<uint32_t> &packed) {
    int64_t step = row.getStep();
    uint32_t zeros = row.getShortNibbleDots() > 0 ? 0x88888888 : 0;
    for (int64_t k = 0; k < segment.size; k += kNibbles)
      for (int64_t n = first; n < first + width; ++n) {
        uint32_t word = 0;
        for (int64_t i = k; i < std::min(k + kNibbles, segment.size); ++i) {
          int64_t dot = (i - k) / step, element = (i - k) % step;
          uint32_t nibble =
              n < outputs ? weight[n * size + segment.offset + i] & 15 : 0;
          word |= nibble << (32 / step * element + 4 * dot);
        }
        packed.push_back(word ^ zeros);
      }
  }

  Value packNibblePanels(const std::vector<int64_t> &weight) {
    std::vector<uint32_t> packed;
    forEachPanel([&](int64_t first, int64_t width) {
      for (const Segment &segment : segments)
        packNibbles(weight, segment, first, width, packed);
    });
    return createTensor<uint32_t>(builder, loc, {int64_t(packed.size())},
                                  builder.getI32Type(), packed);
  }

  template <typename Packed, typename T>
  void packSegment(const std::vector<T> &weight, const Segment &segment,
                   int64_t first, int64_t width, std::vector<Packed> &packed) {
    int64_t step = row.getStep(), padded = row.getPaddedSize(segment.size);
    // A window of channels that tile registers take at once does not reach
    // behind the input: the last one begins earlier, with zeros.
    int64_t window = row.getTileStep() > 0 ? row.getTileStep() : padded;
    auto get = [&](int64_t n, int64_t k) {
      int64_t own = k / window * window;
      int64_t begin = segment.offset + own;
      if (row.getTileStep() > 0)
        begin = std::min(begin, size - window);
      int64_t channel = begin + k % window;
      bool isInside = channel >= segment.offset + own &&
                      channel < segment.offset + segment.size && n < outputs;
      return isInside ? Packed(weight[n * size + channel]) : Packed(0);
    };
    for (int64_t k = 0; k < padded; k += step)
      for (int64_t n = first; n < first + width; ++n)
        for (int64_t i = k; i < k + step; ++i)
          packed.push_back(get(n, i));
  }

  //===--------------------------------------------------------------------===//
  // Parameters
  //===--------------------------------------------------------------------===//

  /// A value for every segment and output, in the order of the panels that
  /// read them, with zeros where there are no outputs.
  template <typename T>
  std::vector<T> packInPanels(function_ref<T(int64_t, int64_t)> get) {
    std::vector<T> result;
    forEachPanel([&](int64_t first, int64_t width) {
      for (int64_t segment = 0; segment < int64_t(segments.size()); ++segment)
        for (int64_t n = first; n < first + width; ++n)
          result.push_back(n < outputs ? get(segment, n) : T(0));
    });
    return result;
  }

  /// The multiplier of every segment and output (Numerics.md, "Contractions").
  std::vector<float> getMultipliers() {
    std::vector<float> scales =
        ConstantTensor::get(op.getWeightScale())->getFloats();
    return packInPanels<float>([&](int64_t index, int64_t n) {
      const Segment &segment = segments[index];
      float scale = getWeightScale(scales, n, segment.block);
      if (input->isDynamic())
        return scale;
      return scale * (joinMultipliers.empty() ? input->getScale(segment.group)
                                              : getSmallestScale());
    });
  }

  /// That of the whole sum in an integer join.
  float getSmallestScale() {
    float smallest = input->getScale(0);
    for (int64_t group = 1; group < input->getNumGroups(); ++group)
      smallest = std::min(smallest, input->getScale(group));
    return smallest;
  }

  Value packScales() {
    if (!input)
      return {};
    std::vector<float> scales = getMultipliers();
    if (areScalesDivided())
      for (float &scale : scales)
        scale /= float(getSumFactor());
    return createTensor<float>(builder, loc, {int64_t(scales.size())},
                               builder.getF32Type(), scales);
  }

  /// What sums are multiplied by: bytes hold nibbles in their upper half,
  /// but where sums are short.
  int64_t getSumFactor() {
    return hasNibbles && row.getShortNibbleDots() == 0 ? 16 : 1;
  }

  /// Whether scales take the factor of the sums back, which keeps every bit:
  /// with scales that are run-time values, or tiny, it might not.
  bool areScalesDivided() {
    if (getSumFactor() == 1 || input->isDynamic())
      return false;
    float factor = getSumFactor();
    return llvm::all_of(getMultipliers(), [&](float scale) {
      return scale / factor * factor == scale;
    });
  }

  /// The value that each sum starts from. Addition wraps, as the sums do.
  Value packSeed() {
    if (!input)
      return {};
    std::vector<int64_t> weight = getIntegerWeight(), seed;
    if (op.getSeed())
      seed = ConstantTensor::get(op.getSeed())->getIntegers();
    auto getOwn = [&](int64_t index, int64_t n) {
      const Segment &segment = segments[index];
      int64_t sum = 0;
      for (int64_t k = 0; k < segment.size; ++k)
        sum += weight[n * size + segment.offset + k];
      return uint32_t(getSumFactor() *
                      getSeed(seed, segment, sum, index * outputs + n));
    };
    auto result = packInPanels<int32_t>([&](int64_t index, int64_t n) {
      return joinMultipliers.empty() ? getOwn(index, n)
                                     : joinSeeds(getOwn, index, n);
    });
    if (llvm::all_of(result, [](int32_t value) { return value == 0; }))
      return {};
    return createTensor<int32_t>(builder, loc, {int64_t(result.size())},
                                 builder.getI32Type(), result);
  }

  /// In an integer join one segment has the seeds of all.
  uint32_t joinSeeds(function_ref<uint32_t(int64_t, int64_t)> getOwn,
                     int64_t index, int64_t n) {
    uint32_t joined = 0;
    if (index == getFinestSegment(joinMultipliers))
      for (auto [other, multiplier] : llvm::enumerate(joinMultipliers))
        joined += uint32_t(multiplier) * getOwn(other, n);
    return joined;
  }

  /// The seed of one segment and output, whose weights add up to `sum`.
  int64_t getSeed(ArrayRef<int64_t> seed, const Segment &segment, int64_t sum,
                  int64_t index) {
    if (op.getSeed())
      return seed[index] - getInputOffset() * sum;
    // The kernel multiplies these by the zero point.
    if (hasDynamicZeroPoints())
      return sum;
    return -getZeroPoint(segment) * sum;
  }

  /// The static zero point of what the micro-kernel multiplies.
  int64_t getZeroPoint(const Segment &segment) {
    int64_t zeroPoint =
        input->isDynamic() ? 0 : input->getZeroPoint(segment.group);
    return zeroPoint + getInputOffset();
  }

  LinearOp op;
  MicroKernelAttr config;
  const MicroKernel &row;
  OpBuilder builder;
  Location loc;
  int64_t size, outputs;
  SmallVector<Segment> segments;
  /// Of each segment in an integer join; else empty.
  SmallVector<int64_t> joinMultipliers;
  std::optional<QuantParams> input;
  /// Whether weights stay in nibbles.
  bool hasNibbles;
  bool isBounded = false;
  /// Absent if the activation is computed in full.
  std::optional<float> activationUnit;
};

struct QtxPackPass : qtx::impl::QtxPackPassBase<QtxPackPass> {
  void runOnOperation() override {
    SmallVector<LinearOp> ops;
    getOperation()->walk([&](LinearOp op) { ops.push_back(op); });
    for (LinearOp op : ops) {
      auto config = op->getAttrOfType<MicroKernelAttr>(kConfigAttrName);
      if (!config)
        continue;
      if (!lookupMicroKernel(config.getKernel())) {
        op.emitOpError("expected a known micro-kernel, found '")
            << config.getKernel() << "'";
        return signalPassFailure();
      }
      Value packed = LinearPacker(op, config).pack();
      remark::passed(op.getLoc(),
                     remark::RemarkOpts::name("Pack").category("qtx-pack"))
          << remark::add("packed for '{0}'", config.getKernel());
      op.getY().replaceAllUsesWith(packed);
      op.erase();
    }
  }
};

} // namespace
