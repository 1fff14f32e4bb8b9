//===- Verify.cpp - Compare fast code with the reference ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Pipelines/Verify.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Kernel/Target.h"
#include "qtx/Support/Diagnostics.h"
#include "qtx/Target/CompiledModel.h"
#include "qtx/Target/Run.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <random>

using namespace mlir;
using namespace qtx;

/// Feeds to look at: the reference takes its time.
static constexpr size_t kMaxFeeds = 4;

/// How far outputs of bounded operations may be off, relative to their norm:
/// some hundred times the rounding of a sum of a thousand floats.
static constexpr double kFloatTolerance = 1e-4;
/// The same where codes inside of an operation may differ by a step, as the
/// probabilities of attention, which are 1/255 apart.
static constexpr double kCodeTolerance = 0.02;
/// And of a whole model, where such steps meet; mistakes are far above.
static constexpr double kModelTolerance = 0.1;

//===----------------------------------------------------------------------===//
// Differences
//===----------------------------------------------------------------------===//

namespace {
/// How two arrays differ.
struct Difference {
  size_t count = 0;
  size_t numDifferent = 0;
  /// The first element that differs, and what it is in each.
  size_t first = 0;
  double firstFound = 0, firstExpected = 0;
  double largest = 0;
  double squares = 0, expectedSquares = 0;

  void add(size_t index, double found, double expected) {
    ++count;
    if (found == expected || (std::isnan(found) && std::isnan(expected))) {
      expectedSquares += std::isfinite(expected) ? expected * expected : 0;
      return;
    }
    if (numDifferent++ == 0) {
      first = index;
      firstFound = found;
      firstExpected = expected;
    }
    double difference = std::abs(found - expected);
    // Not a number against a number is as far as can be.
    largest = std::max(largest, std::isnan(difference) ? HUGE_VAL : difference);
    squares += difference * difference;
    expectedSquares += expected * expected;
  }

  /// The norm of the difference over that of what was expected.
  double getRelative() const {
    if (numDifferent == 0)
      return 0;
    double relative = std::sqrt(squares / expectedSquares);
    return std::isnan(relative) ? HUGE_VAL : relative;
  }

  std::string describe() const {
    return llvm::formatv("{0} of {1} elements differ, the first is number {2}: "
                         "{3} instead of {4}",
                         numDifferent, count, first, firstFound, firstExpected)
        .str();
  }
};
} // namespace

template <typename T>
static void addElements(Difference &difference, const Buffer &found,
                        const Buffer &expected, size_t count,
                        ArrayRef<uint8_t> validRows, size_t channels) {
  auto *a = reinterpret_cast<const T *>(found.data.get());
  auto *b = reinterpret_cast<const T *>(expected.data.get());
  for (size_t i = 0; i < count; ++i)
    if (validRows.empty() || validRows[i / channels])
      difference.add(i, double(a[i]), double(b[i]));
}

/// Compares two outputs of the same type; padding does not count.
static Difference compare(const Buffer &found, const Buffer &expected,
                          ArrayRef<uint8_t> validRows = {}) {
  Difference difference;
  size_t count = 1;
  for (int64_t size : expected.shape)
    count *= size;
  size_t channels =
      expected.shape.empty() ? 1 : std::max<int64_t>(expected.shape.back(), 1);
  auto add = [&](auto zero) {
    addElements<decltype(zero)>(difference, found, expected, count, validRows,
                                channels);
  };
  switch (expected.element) {
  case ElementKind::F32:
    add(float());
    break;
  case ElementKind::F64:
    add(double());
    break;
  case ElementKind::I1:
  case ElementKind::U4:
  case ElementKind::U8:
    add(uint8_t());
    break;
  case ElementKind::I4:
  case ElementKind::I8:
    add(int8_t());
    break;
  case ElementKind::I16:
    add(int16_t());
    break;
  // The bits of half floats: equal or not.
  case ElementKind::F16:
  case ElementKind::U16:
    add(uint16_t());
    break;
  case ElementKind::I32:
    add(int32_t());
    break;
  case ElementKind::U32:
    add(uint32_t());
    break;
  case ElementKind::I64:
  case ElementKind::Index:
    add(int64_t());
    break;
  }
  return difference;
}

static bool isFloat(ElementKind kind) {
  return kind == ElementKind::F32 || kind == ElementKind::F64;
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

/// Whether docs/Numerics.md wants the same bits of every lowering.
static bool isExact(Operation *op) {
  auto isQuantized = [](Value value) {
    return !getElementTypeOrSelf(value.getType()).isFloat();
  };
  if (auto linear = dyn_cast<LinearOp>(op))
    return isQuantized(linear.getX()) &&
           llvm::is_contained({Activation::None, Activation::Relu},
                              linear.getActivation());
  if (auto matmul = dyn_cast<BatchMatmulOp>(op))
    return llvm::all_of(matmul->getOperands().take_front(2), isQuantized);
  return isa<QuantizeOp, DequantizeOp, RequantizeOp, DynamicQuantizeOp,
             PermuteOp, SplitHeadsOp, MergeHeadsOp, ObserveOp, ScaleShiftOp,
             AddOp, EmbeddingOp>(op);
}

static bool isConstant(Value value) {
  return matchPattern(value, m_Constant());
}

/// The operations of a function that are compared.
static SmallVector<Operation *> getOperations(func::FuncOp function) {
  SmallVector<Operation *> ops;
  for (Operation &op : function.getBody().front())
    if (isa<QtxDialect>(op.getDialect()) && op.getNumResults() > 0)
      ops.push_back(&op);
  return ops;
}

/// The values that come into and out of the operations and are no constants.
static llvm::SetVector<Value> getValues(ArrayRef<Operation *> ops) {
  llvm::SetVector<Value> values;
  for (Operation *op : ops) {
    for (Value operand : op->getOperands())
      if (!isConstant(operand))
        values.insert(operand);
    values.insert_range(op->getResults());
  }
  return values;
}

/// A module whose function `main` returns `values` of `function`.
static OwningOpRef<ModuleOp> makeProbe(func::FuncOp function,
                                       ArrayRef<Value> values) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(function.getLoc());
  OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
  IRMapping mapping;
  auto copy = cast<func::FuncOp>(builder.clone(*function, mapping));
  copy.setName("main");
  copy.setPublic();
  SmallVector<Value> results = llvm::map_to_vector(
      values, [&](Value value) { return mapping.lookup(value); });
  copy.getBody().front().getTerminator()->setOperands(results);
  copy.removeResAttrsAttr();
  copy.setType(builder.getFunctionType(copy.getArgumentTypes(),
                                       ValueRange(results).getTypes()));
  return module;
}

static std::string getFunctionName(size_t index) {
  return "op" + std::to_string(index);
}

/// A module with a function for each operation. Constants are part of it, other
/// operands are arguments.
static OwningOpRef<ModuleOp> makeSingles(ArrayRef<Operation *> ops) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(ops.front()->getLoc());
  OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
  for (auto [i, op] : llvm::enumerate(ops)) {
    builder.setInsertionPointToEnd(module->getBody());
    llvm::SetVector<Value> operands = getValues(op);
    operands.remove_if(
        [&, &op = op](Value value) { return value.getDefiningOp() == op; });
    auto type = builder.getFunctionType(
        ValueRange(operands.getArrayRef()).getTypes(), op->getResultTypes());
    auto function =
        func::FuncOp::create(builder, op->getLoc(), getFunctionName(i), type);
    builder.setInsertionPointToStart(function.addEntryBlock());
    IRMapping mapping;
    mapping.map(operands.getArrayRef(), function.getArguments());
    for (Value operand : op->getOperands())
      if (isConstant(operand) && !mapping.contains(operand))
        builder.clone(*operand.getDefiningOp(), mapping);
    Operation *copy = builder.clone(*op, mapping);
    func::ReturnOp::create(builder, op->getLoc(), copy->getResults());
  }
  return module;
}

namespace {
/// Compares operations, and keeps what there is to say.
class OperationVerifier {
public:
  OperationVerifier(func::FuncOp reference, func::FuncOp fast)
      : reference(reference), ops(getOperations(reference)),
        fastOps(getOperations(fast)), values(getValues(ops)) {}

  llvm::Error run(ArrayRef<Feed> feeds, llvm::raw_ostream &stream) {
    if (ops.empty())
      return llvm::Error::success();
    if (llvm::Error error = compile())
      return error;
    for (const Feed &feed : feeds)
      if (llvm::Error error = runFeed(feed))
        return error;
    write(stream);
    return llvm::Error::success();
  }

private:
  llvm::Error compile() {
    auto made = JITModule::create(*makeProbe(reference, values.getArrayRef()));
    if (!made)
      return made.takeError();
    probe = std::move(*made);
    JITOptions options;
    options.fast = true;
    OwningOpRef<ModuleOp> module = makeSingles(fastOps);
    // Code for the target that the model has, if it names one.
    StringRef attr = LLVM::LLVMDialect::getTargetAttrName();
    if (Attribute target = reference->getParentOp()->getAttr(attr))
      (*module)->setAttr(attr, target);
    made = JITModule::create(*module, options);
    if (!made)
      return made.takeError();
    singles = std::move(*made);
    return llvm::Error::success();
  }

  llvm::Error runFeed(const Feed &feed) {
    auto results = probe->invoke("main", feed.views);
    if (!results)
      return results.takeError();
    llvm::DenseMap<Value, const Buffer *> known;
    for (auto [value, buffer] : llvm::zip_equal(values, *results))
      known[value] = &buffer;
    for (auto [i, op] : llvm::enumerate(ops))
      if (llvm::Error error = runOperation(i, op, known))
        return error;
    return llvm::Error::success();
  }

  llvm::Error runOperation(size_t index, Operation *op,
                           const llvm::DenseMap<Value, const Buffer *> &known) {
    SmallVector<BufferView> views;
    for (Value value : getValues(op)) {
      if (value.getDefiningOp() == op)
        continue;
      const Buffer *buffer = known.lookup(value);
      views.push_back({buffer->data.get(), buffer->shape, buffer->element});
    }
    auto results = singles->invoke(getFunctionName(index), views);
    if (!results)
      return results.takeError();
    for (auto [value, found] : llvm::zip_equal(op->getResults(), *results))
      if (llvm::Error error = check(op, found, *known.lookup(value)))
        return error;
    return llvm::Error::success();
  }

  /// Fails unless `found` is near enough to `expected` for a result of `op`.
  llvm::Error check(Operation *op, const Buffer &found,
                    const Buffer &expected) {
    Difference difference = compare(found, expected);
    bool exact = isExact(op);
    (exact ? exactOps : boundedOps).insert(op);
    auto fail = [&](const Twine &wanted) {
      return llvm::createStringError(
          describeOperation(op) + " differs from the reference: expected " +
          wanted + ", found that " + difference.describe());
    };
    if (exact)
      return difference.numDifferent ? fail("the same bits")
                                     : llvm::Error::success();
    bool hasCodes = isa<AttentionOp>(op);
    if (!isFloat(expected.element) && !hasCodes) {
      numCodes += difference.count;
      numOtherCodes += difference.numDifferent;
      return difference.largest > 1 ? fail("codes one step apart at most")
                                    : llvm::Error::success();
    }
    double tolerance = hasCodes ? kCodeTolerance : kFloatTolerance;
    if (difference.getRelative() > tolerance)
      return fail(llvm::formatv("a relative error of at most {0}, found {1:e2}",
                                tolerance, difference.getRelative())
                      .str());
    if (difference.getRelative() > worst.second || !worst.first)
      worst = {op, difference.getRelative()};
    return llvm::Error::success();
  }

  static std::string describeOperation(Operation *op) {
    std::string place = describeLocation(op->getLoc());
    return op->getName().getStringRef().str() +
           (place.empty() ? "" : " (" + place + ")");
  }

  void write(llvm::raw_ostream &stream) const {
    if (!exactOps.empty())
      stream << "verify: " << exactOps.size()
             << " exact operations: the same bits as the reference\n";
    if (boundedOps.empty())
      return;
    stream << "verify: " << boundedOps.size() << " bounded operations: ";
    if (worst.first)
      stream << llvm::formatv("relative error at most {0:e2}, {1}",
                              worst.second, describeOperation(worst.first));
    if (worst.first && numCodes)
      stream << "; ";
    if (numCodes)
      stream << llvm::formatv("{0} of {1} codes one step apart", numOtherCodes,
                              numCodes);
    stream << "\n";
  }

  func::FuncOp reference;
  SmallVector<Operation *> ops, fastOps;
  llvm::SetVector<Value> values;
  std::unique_ptr<JITModule> probe, singles;
  llvm::SmallPtrSet<Operation *, 32> exactOps, boundedOps;
  size_t numCodes = 0, numOtherCodes = 0;
  std::pair<Operation *, double> worst = {nullptr, 0};
};
} // namespace

llvm::Error qtx::verifyOperations(func::FuncOp reference, func::FuncOp fast,
                                  ArrayRef<Feed> feeds,
                                  llvm::raw_ostream &stream) {
  return OperationVerifier(reference, fast).run(feeds, stream);
}

//===----------------------------------------------------------------------===//
// Inputs
//===----------------------------------------------------------------------===//

/// Sizes for the dynamic dimensions of the inputs, the same for one name.
static int64_t chooseSize(StringRef dim, llvm::StringMap<int64_t> &sizes) {
  // One of the first name, which is the batch as a rule, and some of others.
  constexpr int64_t kBatch = 2, kOther = 8;
  if (dim.empty())
    return kOther;
  return sizes.try_emplace(dim, sizes.empty() ? kBatch : kOther).first->second;
}

static llvm::Expected<NpyArray> makeArray(const ValueSignature &value,
                                          ArrayRef<int64_t> shape,
                                          std::mt19937 &generator) {
  bool isReal = isFloat(value.element);
  auto array = createArray(isReal ? NpyKind::Float : NpyKind::Int,
                           isReal ? getElementSize(value.element) : 8, shape);
  if (!array)
    return array.takeError();
  std::normal_distribution<double> normal;
  for (size_t i = 0, e = array->getNumElements(); i < e; ++i) {
    char *at = array->data.get() + i * array->itemSize;
    double real = normal(generator);
    if (value.element == ElementKind::F32)
      *reinterpret_cast<float *>(at) = real;
    else if (isReal)
      *reinterpret_cast<double *>(at) = real;
    else
      *reinterpret_cast<int64_t *>(at) =
          value.name == kPaddingMaskName || real > 0;
  }
  return isReal ? std::move(array) : convertArray(*array, value.element);
}

llvm::Expected<Feed> qtx::makeFeed(func::FuncOp function) {
  auto signature = getSignature(function);
  if (!signature)
    return signature.takeError();
  Feed feed;
  llvm::StringMap<int64_t> sizes;
  std::mt19937 generator;
  for (auto [i, value] : llvm::enumerate(signature->inputs)) {
    auto dims =
        function.getArgAttrOfType<ArrayAttr>(i, QtxDialect::kDimsAttrName);
    std::vector<int64_t> shape = value.shape;
    for (auto [axis, size] : llvm::enumerate(shape))
      if (ShapedType::isDynamic(size))
        size = chooseSize(dims ? cast<StringAttr>(dims[axis]).getValue()
                               : StringRef(),
                          sizes);
    auto array = makeArray(value, shape, generator);
    if (!array)
      return array.takeError();
    feed.inputs.push_back(std::move(*array));
  }
  for (auto [array, value] : llvm::zip_equal(feed.inputs, signature->inputs))
    feed.views.push_back(getView(array, value.element));
  return feed;
}

/// Feeds of the samples, or one that is made up.
static llvm::Expected<SmallVector<Feed>> getFeeds(func::FuncOp function,
                                                  const CompileResult &result,
                                                  llvm::raw_ostream &stream) {
  SmallVector<Feed> feeds;
  if (!result.data) {
    auto feed = makeFeed(function);
    if (!feed)
      return feed.takeError();
    feeds.push_back(std::move(*feed));
    stream << "verify: there are no samples: running on generated inputs\n";
    return std::move(feeds);
  }
  size_t count = std::min(result.data->getNumFeeds(), kMaxFeeds);
  for (size_t i = 0; i < count; ++i) {
    auto feed = result.data->getFeed(i);
    if (!feed)
      return feed.takeError();
    feeds.push_back(std::move(*feed));
  }
  stream << "verify: running " << count << " of " << result.data->getNumFeeds()
         << " feeds of the samples\n";
  return std::move(feeds);
}

//===----------------------------------------------------------------------===//
// Models
//===----------------------------------------------------------------------===//

static llvm::Expected<std::unique_ptr<CompiledModel>>
load(ModuleOp module, const CompileOptions &options,
     const CompileResult &result) {
  auto object = emitObject(module, options, result);
  if (!object)
    return object.takeError();
  return CompiledModel::loadObject(std::move(*object), copyWeights(result));
}

/// Compiles a model that has come to the end of `stage` on a way of its own.
static llvm::Expected<std::unique_ptr<CompiledModel>>
compileFrom(ModuleOp start, Stage stage, CompileOptions options,
            bool reference) {
  options.reference = reference;
  options.verify = false;
  options.tune = false;
  options.weightsPath.clear();
  options.recipe = Recipe();
  options.calibrationPath.clear();
  options.dumpFolder.clear();
  options.report = nullptr;
  options.stageDone = nullptr;
  options.stageProgress = nullptr;
  OwningOpRef<ModuleOp> module = start.clone();
  FailureOr<CompileResult> result = runStages(*module, options, stage);
  if (failed(result))
    return llvm::createStringError("cannot compile the model to compare with");
  return load(*module, options, *result);
}

/// Runs two models on the feeds and compares each output; the differences of
/// all feeds together.
static llvm::Expected<std::vector<Difference>>
compareModels(const CompiledModel &model, const CompiledModel &expected,
              ArrayRef<Feed> feeds) {
  ArrayRef<ValueSignature> values = model.getSignature().function.outputs;
  std::vector<Difference> differences(values.size());
  for (const Feed &feed : feeds) {
    auto a = model.invoke(feed.views);
    if (!a)
      return a.takeError();
    auto b = expected.invoke(feed.views);
    if (!b)
      return b.takeError();
    for (auto [i, value] : llvm::enumerate(values)) {
      std::vector<uint8_t> rows;
      if (feed.mask)
        rows = feed.mask->getRows((*b)[i].shape, value.shape);
      Difference one = compare((*a)[i], (*b)[i], rows), &all = differences[i];
      if (all.numDifferent == 0) {
        all.first = one.first;
        all.firstFound = one.firstFound;
        all.firstExpected = one.firstExpected;
      }
      all.count += one.count;
      all.numDifferent += one.numDifferent;
      all.largest = std::max(all.largest, one.largest);
      all.squares += one.squares;
      all.expectedSquares += one.expectedSquares;
    }
  }
  return differences;
}

/// Whether every operation of the model is exact, so that its outputs are.
static bool isExactModel(func::FuncOp function) {
  return llvm::all_of(function.getBody().front(), [](Operation &op) {
    return isa<func::ReturnOp>(op) || op.hasTrait<OpTrait::ConstantLike>() ||
           (isa<QtxDialect>(op.getDialect()) && isExact(&op));
  });
}

static bool isQuantizedModel(func::FuncOp function) {
  return llvm::any_of(function.getBody().front(), [](Operation &op) {
    return llvm::any_of(op.getResultTypes(), [](Type type) {
      Type element = getElementTypeOrSelf(type);
      return isa<QtxDialect, quant::QuantDialect>(element.getDialect());
    });
  });
}

static llvm::Error checkOutput(StringRef name, const Difference &difference,
                               func::FuncOp function) {
  auto fail = [&](const Twine &wanted) {
    return llvm::createStringError(
        "output '" + name + "' differs from the reference: expected " + wanted +
        ", found that " + difference.describe());
  };
  if (difference.numDifferent && isExactModel(function))
    return fail("the same bits");
  double tolerance =
      isQuantizedModel(function) ? kModelTolerance : kFloatTolerance;
  if (difference.getRelative() > tolerance)
    return fail(llvm::formatv("a relative error of at most {0}, found {1:e2}",
                              tolerance, difference.getRelative())
                    .str());
  return llvm::Error::success();
}

static func::FuncOp getMain(ModuleOp module) {
  if (auto main = module.lookupSymbol<func::FuncOp>("main"))
    return main;
  return *module.getOps<func::FuncOp>().begin();
}

static void writeDifferences(llvm::raw_ostream &stream, StringRef what,
                             const CompiledModel &model,
                             ArrayRef<Difference> differences) {
  for (auto [value, difference] :
       llvm::zip_equal(model.getSignature().function.outputs, differences))
    stream << "verify: output '" << value.name << "', " << what << ": "
           << llvm::formatv("relative error {0:e2}, {1} of {2} elements differ",
                            difference.getRelative(), difference.numDifferent,
                            difference.count)
           << "\n";
}

/// Says which code runs, if there are several versions.
static llvm::Error writeVersion(llvm::raw_ostream &stream,
                                const CompiledModel &model) {
  size_t numVersions = model.getSignature().versions.size();
  if (numVersions < 2)
    return llvm::Error::success();
  auto version = model.getVersion();
  if (!version)
    return version.takeError();
  stream << "verify: running the code for " << version->name
         << ", which this machine chooses of " << numVersions
         << " versions: the others are not verified\n";
  return llvm::Error::success();
}

llvm::Error qtx::verifyModel(ModuleOp module, const CompileOptions &options,
                             const CompileResult &result,
                             llvm::raw_ostream &stream) {
  func::FuncOp function = getMain(*result.fusedModel);
  auto feeds = getFeeds(function, result, stream);
  if (!feeds)
    return feeds.takeError();
  if (llvm::Error error = verifyOperations(function, function, *feeds, stream))
    return error;
  auto model = load(module, options, result);
  if (!model)
    return model.takeError();
  if (llvm::Error error = writeVersion(stream, **model))
    return error;
  auto reference = compileFrom(*result.fusedModel, Stage::Fuse, options,
                               /*reference=*/true);
  if (!reference)
    return reference.takeError();
  auto differences = compareModels(**model, **reference, *feeds);
  if (!differences)
    return differences.takeError();
  writeDifferences(stream, "against the reference", **model, *differences);
  for (auto [value, difference] :
       llvm::zip_equal((*model)->getSignature().function.outputs, *differences))
    if (llvm::Error error = checkOutput(value.name, difference, function))
      return error;
  if (!result.data || !isQuantizedModel(function))
    return llvm::Error::success();
  auto original = compileFrom(*result.floatModel, Stage::Calibrate, options,
                              /*reference=*/false);
  if (!original)
    return original.takeError();
  differences = compareModels(**model, **original, *feeds);
  if (!differences)
    return differences.takeError();
  writeDifferences(stream, "against the float model", **model, *differences);
  return llvm::Error::success();
}
