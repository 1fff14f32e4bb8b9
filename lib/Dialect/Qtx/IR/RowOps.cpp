//===- RowOps.cpp - Operations on rows ------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/RowOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace qtx;

//===----------------------------------------------------------------------===//
// What leaf operations have in common
//===----------------------------------------------------------------------===//

/// Reads of inputs and writes of outputs, of memrefs only.
static void
getLeafEffects(DestinationStyleOpInterface op,
               SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  for (OpOperand *operand : op.getDpsInputOperands())
    if (isa<MemRefType>(operand->get().getType()))
      effects.emplace_back(MemoryEffects::Read::get(), operand);
  for (OpOperand &operand : op.getDpsInitsMutable())
    if (isa<MemRefType>(operand.get().getType()))
      effects.emplace_back(MemoryEffects::Write::get(), &operand);
}

static LogicalResult reifyLeafShapes(DestinationStyleOpInterface op,
                                     OpBuilder &builder,
                                     ReifiedRankedShapedTypeDims &reified) {
  for (Value init : op.getDpsInits())
    reified.push_back(tensor::getMixedSizes(builder, op.getLoc(), init));
  return success();
}

static AliasingValueList getLeafAliases(DestinationStyleOpInterface op,
                                        OpOperand &operand) {
  if (op.isDpsInit(&operand))
    return {{op.getTiedOpResult(&operand), BufferRelation::Equivalent}};
  return {};
}

static bool isLastDimDense(Value buffer) {
  auto [strides, offset] =
      cast<MemRefType>(buffer.getType()).getStridesAndOffset();
  return strides.empty() || strides.back() == 1;
}

/// Dense memory of the shape of `buffer`.
static Value allocateLike(RewriterBase &rewriter, Location loc, Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  SmallVector<Value> sizes;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    if (type.isDynamicDim(dim))
      sizes.push_back(memref::DimOp::create(rewriter, loc, buffer, dim));
  return memref::AllocOp::create(
      rewriter, loc, MemRefType::get(type.getShape(), type.getElementType()),
      sizes);
}

/// The same operation on buffers. Operands whose last dimension is not dense
/// are copied.
static LogicalResult bufferizeLeaf(DestinationStyleOpInterface op,
                                   RewriterBase &rewriter,
                                   const BufferizationOptions &options,
                                   BufferizationState &state) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  Location loc = op.getLoc();
  SmallVector<Value> operands, results;
  SmallVector<std::pair<Value, Value>> copiesBack;
  for (OpOperand &operand : op->getOpOperands()) {
    operands.push_back(operand.get());
    if (!isa<TensorType>(operand.get().getType()))
      continue;
    FailureOr<Value> buffer =
        getBuffer(rewriter, operand.get(), options, state);
    if (failed(buffer))
      return failure();
    operands.back() = *buffer;
    if (op.isDpsInit(&operand))
      results.push_back(*buffer);
    if (isLastDimDense(*buffer))
      continue;
    operands.back() = allocateLike(rewriter, loc, *buffer);
    if (op.isDpsInit(&operand))
      copiesBack.push_back({operands.back(), *buffer});
    else
      memref::CopyOp::create(rewriter, loc, *buffer, operands.back());
  }
  OperationState newState(loc, op->getName(), operands, TypeRange(), {});
  newState.propertiesAttr = op->getPropertiesAsAttribute();
  newState.addAttributes(llvm::to_vector(op->getDiscardableAttrs()));
  for (Region &region : op->getRegions())
    newState.addRegion()->takeBody(region);
  rewriter.create(newState);
  for (auto [from, to] : copiesBack)
    memref::CopyOp::create(rewriter, loc, from, to);
  replaceOpWithBufferizedValues(rewriter, op, results);
  return success();
}

//===----------------------------------------------------------------------===//
// RowsOp
//===----------------------------------------------------------------------===//

AffineMap RowsOp::getInputMap(unsigned input) {
  return cast<AffineMapAttr>(getIndexingMaps()[input]).getValue();
}

AffineMap RowsOp::getOutputMap(unsigned output) {
  return getInputMap(getInputs().size() + output);
}

/// The entry of `number` in `ids`, if it has one.
static std::optional<unsigned> getEntry(std::optional<ArrayRef<int64_t>> ids,
                                        unsigned number) {
  if (!ids || (*ids)[number] < 0)
    return std::nullopt;
  return (*ids)[number];
}

std::optional<unsigned> RowsOp::getIdsOf(unsigned input) {
  return getEntry(getRowIds(), input);
}

std::optional<unsigned> RowsOp::getColumnsOf(unsigned output) {
  return getEntry(getColumnIds(), output);
}

std::pair<Value, unsigned> RowsOp::getOperandWithDim(unsigned dim) {
  AffineExpr expr = getAffineDimExpr(dim, getContext());
  for (auto [operand, map] :
       llvm::zip_equal((*this)->getOperands(),
                       getIndexingMaps().getAsValueRange<AffineMapAttr>()))
    if (std::optional<unsigned> position = map.getResultPosition(expr))
      return {operand, *position};
  return {};
}

llvm::DenseSet<Value> RowsOp::getUniformValues() {
  llvm::DenseSet<Value> uniform;
  Block &body = getBody().front();
  for (BlockArgument argument : body.getArguments())
    if (!getInputMap(argument.getArgNumber()).isFunctionOfDim(getNumDims() - 1))
      uniform.insert(argument);
  for (Operation &nested : body.without_terminator())
    if (isa<RowReduceOp>(nested) ||
        llvm::all_of(nested.getOperands(),
                     [&](Value operand) { return uniform.contains(operand); }))
      uniform.insert(nested.result_begin(), nested.result_end());
  return uniform;
}

/// A map's last result may be the column; the others are leading dimensions or
/// the constant 0.
static bool isRowMap(AffineMap map, unsigned numDims) {
  if (map.getNumDims() != numDims || map.getNumSymbols() != 0)
    return false;
  for (auto [index, expr] : llvm::enumerate(map.getResults())) {
    if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
      if (constant.getValue() != 0)
        return false;
      continue;
    }
    auto dim = dyn_cast<AffineDimExpr>(expr);
    bool isLast = index + 1 == map.getNumResults();
    if (!dim || (dim.getPosition() + 1 == numDims && !isLast))
      return false;
  }
  return true;
}

static LogicalResult verifyMaps(RowsOp op) {
  if (op.getOutputs().empty())
    return op.emitOpError() << "expected an output, found none";
  size_t numOperands = op->getNumOperands();
  if (op.getIndexingMaps().size() != numOperands)
    return op.emitOpError() << "expected " << numOperands
                            << " indexing maps, one for each operand, found "
                            << op.getIndexingMaps().size();
  unsigned numDims = op.getNumDims();
  for (auto [index, operand] : llvm::enumerate(op->getOperands())) {
    AffineMap map = op.getInputMap(index);
    int64_t rank = cast<ShapedType>(operand.getType()).getRank();
    if (map.getNumResults() != rank || numDims == 0 || !isRowMap(map, numDims))
      return op.emitOpError()
             << "expected indexing map " << index << " to select from "
             << numDims << " dimensions the " << rank
             << " of its operand, the column last, found "
             << op.getIndexingMaps()[index];
  }
  for (unsigned dim = 0; dim < numDims; ++dim)
    if (!op.getOperandWithDim(dim).first)
      return op.emitOpError()
             << "expected every dimension in a map, found none with " << dim;
  return success();
}

static LogicalResult verifyRowIds(RowsOp op) {
  std::optional<ArrayRef<int64_t>> ids = op.getRowIds();
  if (!ids)
    return success();
  int64_t numInputs = op.getInputs().size();
  auto isValid = [&](auto pair) {
    auto [input, id] = pair;
    if (id == -1)
      return true;
    return id >= 0 && id < numInputs && (*ids)[id] == -1 &&
           op.getInputMap(input).getNumResults() > 0 &&
           getElementTypeOrSelf(op.getInputs()[id]).isIntOrIndex() &&
           !op.getInputMap(id).isFunctionOfDim(op.getNumDims() - 1);
  };
  if (int64_t(ids->size()) != numInputs ||
      !llvm::all_of(llvm::enumerate(*ids), isValid))
    return op.emitOpError() << "expected for each input -1 or the number of an "
                               "input of integers, one per row, found row_ids "
                            << op.getRowIdsAttr();
  // Ids are clamped to the rows that the type says.
  for (auto [input, id] : llvm::enumerate(*ids)) {
    Type type = op.getInputs()[input].getType();
    if (id != -1 && cast<ShapedType>(type).isDynamicDim(0))
      return op.emitOpError() << "expected a table with a static number of "
                                 "rows for input "
                              << input << ", found " << type;
  }
  return success();
}

static LogicalResult verifyColumnIds(RowsOp op) {
  std::optional<ArrayRef<int64_t>> ids = op.getColumnIds();
  if (!ids)
    return success();
  AffineExpr column = getAffineDimExpr(op.getNumDims() - 1, op.getContext());
  auto isValid = [&](auto pair) {
    auto [output, id] = pair;
    if (id == -1)
      return true;
    return id >= 0 && id < int64_t(op.getInputs().size()) &&
           op.getOutputMap(output).getResultPosition(column) &&
           getElementTypeOrSelf(op.getInputs()[id]).isIntOrIndex() &&
           !op.getIdsOf(id) && op.getInputMap(id).getNumResults() == 1 &&
           op.getInputMap(id).getResult(0) == column;
  };
  if (ids->size() != op.getOutputs().size() ||
      !llvm::all_of(llvm::enumerate(*ids), isValid))
    return op.emitOpError()
           << "expected for each output -1 or the number of an input of "
              "integers, one per column, found column_ids "
           << op.getColumnIdsAttr();
  return success();
}

LogicalResult RowsOp::verify() {
  if (failed(verifyMaps(*this)) || failed(verifyRowIds(*this)) ||
      failed(verifyColumnIds(*this)))
    return failure();
  auto elementTypes = [](ValueRange values) {
    return llvm::to_vector(llvm::map_range(
        values, [](Value v) -> Type { return getElementTypeOrSelf(v); }));
  };
  if (TypeRange(getBody().getArgumentTypes()) !=
      TypeRange(elementTypes(getInputs())))
    return emitOpError() << "expected the arguments of the body to be elements "
                            "of the inputs";
  bool isEmpty = getOperation()->getRegion(0).front().empty();
  auto yield = isEmpty ? YieldOp() : dyn_cast<YieldOp>(getYield());
  if (!yield || TypeRange(yield.getValues().getTypes()) !=
                    TypeRange(elementTypes(getOutputs())))
    return emitOpError()
           << "expected the body to yield elements of the outputs";
  llvm::DenseSet<Value> uniform = getUniformValues();
  for (auto [output, value] : llvm::enumerate(yield.getValues()))
    if (!getOutputMap(output).isFunctionOfDim(getNumDims() - 1) &&
        !uniform.contains(value))
      return emitOpError() << "expected one value per row for output " << output
                           << ", found one per column";
  size_t numTensors = llvm::count_if(
      getOutputs(), [](Value v) { return isa<TensorType>(v.getType()); });
  if (getNumResults() != numTensors)
    return emitOpError() << "expected a result for each output that is a "
                            "tensor, found "
                         << getNumResults() << " results";
  return success();
}

void RowsOp::getEffects(
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  getLeafEffects(cast<DestinationStyleOpInterface>(getOperation()), effects);
}

Speculation::Speculatability RowsOp::getSpeculatability() {
  return Speculation::Speculatable;
}

LogicalResult RowsOp::reifyResultShapes(OpBuilder &builder,
                                        ReifiedRankedShapedTypeDims &reified) {
  return reifyLeafShapes(cast<DestinationStyleOpInterface>(getOperation()),
                         builder, reified);
}

bool RowsOp::bufferizesToMemoryRead(OpOperand &operand, const AnalysisState &) {
  return !isDpsInit(&operand);
}

bool RowsOp::bufferizesToMemoryWrite(OpOperand &operand,
                                     const AnalysisState &) {
  return isDpsInit(&operand);
}

bool RowsOp::isElementwise(OpOperand &operand) {
  unsigned number = operand.getOperandNumber();
  if (!isDpsInit(&operand))
    return getInputMap(number).isIdentity() && !getIdsOf(number);
  number -= getInputs().size();
  return getOutputMap(number).isIdentity() && !getColumnsOf(number);
}

bool RowsOp::bufferizesToElementwiseAccess(const AnalysisState &,
                                           ArrayRef<OpOperand *> operands) {
  return llvm::all_of(
      operands, [&](OpOperand *operand) { return isElementwise(*operand); });
}

AliasingValueList RowsOp::getAliasingValues(OpOperand &operand,
                                            const AnalysisState &) {
  return getLeafAliases(cast<DestinationStyleOpInterface>(getOperation()),
                        operand);
}

LogicalResult RowsOp::bufferize(RewriterBase &rewriter,
                                const BufferizationOptions &options,
                                BufferizationState &state) {
  return bufferizeLeaf(cast<DestinationStyleOpInterface>(getOperation()),
                       rewriter, options, state);
}

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/RowOps.cpp.inc"
