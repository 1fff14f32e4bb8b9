//===- Emitter.h - Code of qtx.attention ------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// From the outside in: key heads of all batches, whose keys and values are
// packed for the micro-kernels; blocks of the queries that share one. A block
// keeps whole rows of scores, so the normaliser is known before the values are
// read, and clipping costs no second pass over the keys. docs/Numerics.md,
// "Softmax and attention", says what is computed. A part is a range of blocks;
// parts that share a key head pack it each for itself.
//
// All scratch memory is words of 32 bits: a lane of a vector, whatever elements
// the micro-kernel has in it.
//
// The emitter's parts: Emitter.cpp has sizes, memory and the outer loops,
// Packing.cpp what the micro-kernels read, Products.cpp the two contractions,
// Rows.cpp the softmax of floats, IntegerRows.cpp that of integer scores,
// Groups.cpp what it leaves out, and Result.cpp the end. StretchEmitter.h has
// rows that are too long to be kept.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_ATTENTION_EMITTER_H
#define QTX_LIB_KERNEL_ATTENTION_EMITTER_H

#include "../VectorEmitter.h"
#include "Plan.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Kernel/Kernels.h"

namespace qtx {

/// Parameters of an integer operand as the micro-kernel sees it: its codes
/// after `flip` is added, and the zero point of those.
struct OperandParams {
  float scale = 1.0f;
  int64_t zeroPoint = 0;
  bool isSigned = true;
  bool isFlipped = false;
};

/// Emits one attention.
class AttentionEmitter : protected VectorEmitter {
public:
  /// With `stretches` for rows that are not kept.
  AttentionEmitter(ImplicitLocOpBuilder &builder, KernelOp op, Part part,
                   std::optional<Stretches> stretches = std::nullopt);
  virtual ~AttentionEmitter() = default;

  /// The keys of a head.
  Value createNumKeys();

  void emit();

protected:
  static int64_t getLast(Value value);

  //===--------------------------------------------------------------------===//
  // Sizes and memory
  //===--------------------------------------------------------------------===//

  /// Whether an operand (query, key, value) or the result, number 3, has its
  /// positions before its heads.
  bool hasPositionsFirst(unsigned number) { return layouts[number] != 0; }

  unsigned getHeadDim(unsigned number) {
    return hasPositionsFirst(number) ? 2 : 1;
  }

  unsigned getPositionDim(unsigned number) {
    return hasPositionsFirst(number) ? 1 : 2;
  }

  void createSizes();

  /// Queries of a block.
  virtual Value createBlockRows();

  /// Makes room for rows of scores.
  virtual void createRows();

  /// Has rows of scores hold `count` keys from `first` on.
  void setKeys(Value first, Value count);

  /// Whether keys behind the last one that a mask shows are left out: padding
  /// of a batch.
  bool skipsPadding();

  /// Keys up to the last one that the mask shows, one at least.
  Value countKeysInMask();

  void createScratch();

  /// What tile registers read and write, as matrices of bytes and of sums.
  void createTileOperand(Value *buffer, Value memory, Value position);

  Value createBuffer(Value memory, Value position, Value bytes, Type type);

  //===--------------------------------------------------------------------===//
  // Blocks of queries
  //===--------------------------------------------------------------------===//

  /// Some of the blocks of the queries that share a key head.
  virtual void emitKeyHead(PartRange blocks);

  /// Has the members say where a block is, by its number among those of a key
  /// head.
  void enterBlock(Value block);

  /// What all blocks of a key head need.
  virtual void packKeyHead();

  virtual void emitBlock();

  /// How many keys, in whole vectors or groups, the queries of a tile from
  /// `firstQuery` on may see.
  void createSeen(Value firstQuery);

  /// Whether keys behind the queries of a causal attention are left out. Float
  /// values that are not finite count even so.
  bool skipsCausal();

  //===--------------------------------------------------------------------===//
  // Operands of micro-kernels
  //===--------------------------------------------------------------------===//

  /// How the micro-kernel takes the codes of a quantized operand: the first one
  /// unsigned or signed and the second one signed, or both less their zero
  /// points.
  static OperandParams getOperandParams(std::optional<Type> type,
                                        const MicroKernel &row, bool isFirst);

  /// Whether zero points come in by seeds: codes stay bytes.
  static bool hasSeeds(const MicroKernel &row) { return row.getStep() == 4; }

  /// Bytes as the first operand of the micro-kernel, in words.
  Value widenFirst(Value bytes, VectorType type, const MicroKernel &row);

  /// `count` neighbours of a row from `column` on, the others zero; those
  /// beyond `size` are not read.
  Value loadElements(Value memref, SmallVector<Value> indices, int64_t column,
                     int64_t count, int64_t size);

  /// Elements as the micro-kernel multiplies them, as words. Those behind the
  /// first `valid` are zero.
  Value convertElements(Value elements, const MicroKernel &row,
                        const OperandParams &params, int64_t valid);

  /// One word in all lanes, as the first operand of a dot product.
  Value broadcastWord(Value buffer, Value position, const MicroKernel &row);

  Value asOperand(Value vector, const MicroKernel &row);

  /// Ones in the elements of a dot product, which then adds the other operand.
  Value createOnes(const MicroKernel &row);

  Value createZeroSums(const MicroKernel &row);

  /// The indices of an element 0 of a position of a head.
  SmallVector<Value> getIndices(unsigned number, Value head, Value position);

  //===--------------------------------------------------------------------===//
  // Quantization
  //===--------------------------------------------------------------------===//

  /// Numerics.md, "Quantize", without the zero point. The bounds are integers,
  /// so rounding and clamping may change places; a comparison with NaN is
  /// false, which leaves the lower bound.
  Value quantize(Value x, const QuantParams &params);

  /// dequantize(quantize(x))
  Value roundTrip(Value x, const QuantParams &params);

  /// constant - zeroPoint * sum
  Value createTerm(Value sum, int64_t zeroPoint, int64_t constant);

  //===--------------------------------------------------------------------===//
  // Keys
  //===--------------------------------------------------------------------===//

  /// The position of step `step` of a vector of keys. Keys stand in panels of
  /// as many vectors as a tile has, and those that are left in panels of one.
  Value getKeyPosition(Value vectorNumber, Value step);

  Value getNumFullPanels();

  /// Keys with their channels outermost: blocks of as many keys as channels are
  /// transposed in registers. Behind the last key it is repeated.
  void emitPackedKeys();

  bool hasKeySums() { return hasSeeds(plan.scores) || hasIntegerRows; }

  /// What the sums of keys start from: -z_q * sum k, or what excludes the key.
  void emitKeySums(Value number);

  Value createKeySeeds(Value number);

  /// Which keys from `first` on there are and the mask has.
  Value createSeenKeys(Value first);

  //===--------------------------------------------------------------------===//
  // Values
  //===--------------------------------------------------------------------===//

  /// Values of neighbouring keys in the lanes of their channels.
  void emitPackedValues();

  /// Where words of vector `v` of the channels are. Vectors stand in panels, as
  /// many as a tile has.
  Value getValuePosition(Value number, int64_t v);

  /// Words of a row of probabilities.
  Value getProbPitch();

  /// Words of `lanes` channels from as many keys as a word has elements, each
  /// `stride` behind the one before; those behind the last key are zero.
  Value createValueWords(Value first, int64_t stride, int64_t channel);

  //===--------------------------------------------------------------------===//
  // Queries
  //===--------------------------------------------------------------------===//

  /// `count` queries as the micro-kernel takes them; behind the last one it is
  /// repeated.
  void emitQueryBlock(Value count);

  //===--------------------------------------------------------------------===//
  // Scores
  //===--------------------------------------------------------------------===//

  /// The sums of all keys for the queries of the block.
  void emitScoreTiles();

  void emitScoreTile(Value number, int64_t width);

  /// The same by tile registers.
  void emitTallScoreTile(Value number, int64_t width);

  Value getColumns(Value matrix, Value first, int64_t count);

  //===--------------------------------------------------------------------===//
  // Context
  //===--------------------------------------------------------------------===//

  /// The products of probabilities and values.
  void emitContextTiles();

  /// By tile registers. Probabilities behind the last key meet zeros.
  void emitTallContextTile(int64_t first, int64_t width);

  void emitContextTile(int64_t first, int64_t width);

  Value loadValues(Value number, int64_t channel);

  //===--------------------------------------------------------------------===//
  // A row of scores
  //===--------------------------------------------------------------------===//

  bool isClipped() { return qtx::isClipped(*view.operator->()); }
  bool isDivisionLast() { return qtx::isDivisionLast(*view.operator->()); }

  /// Calls `body` for the vectors of a row of keys: whole ones, and the last
  /// one with a mask.
  SmallVector<Value>
  forEachVector(ValueRange carried,
                llvm::function_ref<SmallVector<Value>(Value key, Value mask,
                                                      ValueRange carried)>
                    body);

  void emitSoftmax(Value row);

  /// Scores in the place of sums; returns the largest one.
  Value emitScores();

  /// What zero points of the keys add to the scores of a query; null if
  /// nothing.
  Value createScoreTerm();

  /// The sum of the bytes of `count` words of a query.
  Value createByteSums(Value vector, int64_t count);

  /// The masked score of the keys from `key` on.
  Value createScore(Value keyIndex, Value lastMask, Value rowTerm);

  Value exclude(Value unless, Value score);

  Value maskScore(Value score, Value keyIndex, Value lastMask);

  Value applyMask(Value score, Value keyIndex, Value lastMask);

  //===--------------------------------------------------------------------===//
  // A row of probabilities
  //===--------------------------------------------------------------------===//

  /// What is taken from scores whose largest is `max`: 0 if all are excluded.
  Value createScoreShift(Value max);

  /// Stores 1 / sum, or 0 for a sum of 0, and returns it.
  Value storeFactor(Value sum);

  void storeFloat(Value scalar, Value buffer, Value position);
  Value loadFloat(Value buffer, Value position);

  /// exp(s - m), their sum, and what becomes of them.
  void emitNumerators(Value max);

  /// The sums of the exponentials and, where it is needed, of their codes.
  SmallVector<Value> emitExponentials(Value shifts);

  /// Whether zero points of the values need the sums of the probabilities.
  bool hasProbSums() { return hasSeeds(plan.context) && value.zeroPoint != 0; }
  Value addCodes(Value sum, Value codes, Value mask);

  void storeProbSum(Value sums);

  /// The sink's logit; null without a sink.
  Value createSink();

  /// Normalised, clipped and quantized probabilities.
  void emitProbs(Value factor);

  Value clip(Value p);

  /// Stores a probability for the contraction; returns its words, or its code
  /// in each of them.
  Value storeProb(Value p, Value position);

  //===--------------------------------------------------------------------===//
  // A row of integer scores
  //===--------------------------------------------------------------------===//

  /// Keys whose probabilities are packed together: as many vectors as a word
  /// has elements. The elements of a word are one key of each.
  int64_t getGroupSize() { return lanes * plan.context.getStep(); }

  float getSumScale() { return qtx::getSumScale(*view.operator->()); }

  /// Calls `body` for the vectors of keys that the block sees: those of a group
  /// together, and those behind the last whole group one by one.
  SmallVector<Value>
  forEachGroup(SmallVector<Value> carried,
               llvm::function_ref<SmallVector<Value>(Value key, int64_t count,
                                                     ValueRange carried)>
                   body);

  Value getScorePosition(Value key, int64_t vector) {
    return add(add(at.scores, key), vector * lanes);
  }

  /// One stage for all rows before the next one, so that a row need not wait
  /// for what the row before has in all lanes together.
  void emitIntegerSoftmax(Value count);

  /// The number that a stage has left for the row.
  Value loadFactor() { return loadFloat(factors, at.row); }

  /// What makes the argument of the largest power 0; 0 where there is none.
  Value createShift();

  /// Excludes the keys behind the query of a causal attention.
  void emitExcludedKeys();

  Value createLargestSum();

  //===--------------------------------------------------------------------===//
  // Powers and their codes
  //===--------------------------------------------------------------------===//

  /// Exponentials and, unless they are normalised first, their codes. Returns
  /// their sum.
  Value emitPowers(Value shifts);

  void emitNormalisedCodes(Value factor);

  /// Stores the codes of `powers` times `factors`, clipped. The last of `sums`
  /// takes the sum of the codes, where it is needed.
  void storeCodes(llvm::ArrayRef<Value> powers, Value factors, Value key,
                  SmallVectorImpl<Value> &sums);

  /// Words whose lowest bits are the code. Adding 1.5 * 2^23 rounds as a
  /// conversion would, in the same operation.
  Value createCode(Value power, Value factors);

  /// Words of the lowest bits of each of `codes`, those of the first lowest.
  Value joinCodes(SmallVector<Value> codes);

  //===--------------------------------------------------------------------===//
  // Groups without probabilities
  //===--------------------------------------------------------------------===//

  /// Whether groups of keys that no query of the block gives a probability are
  /// left out: clipping makes them, and their codes are zero. Floats that are
  /// not finite count even so.
  bool skipsZeros();

  /// The end of the whole groups that the block sees.
  Value getGroupedEnd();

  /// Where the words of a group that begins with `key` are.
  Value getGroupPosition(Value key);

  /// Emits codes by `body`, and lists the groups that count.
  void emitAndListGroups(llvm::function_ref<void()> body);

  /// Adds codes of the keys from `key` on to those of their group.
  void addToGroup(Value key, Value codes);

  /// Lists the first keys of the groups that have a code.
  void emitGroupList();

  /// Calls `body` for the first keys of the groups that count, and then for the
  /// steps of `stride` keys behind the last whole group.
  SmallVector<Value> forEachCounted(
      ValueRange carried, int64_t stride,
      llvm::function_ref<SmallVector<Value>(Value, ValueRange)> group,
      llvm::function_ref<SmallVector<Value>(Value, ValueRange)> rest);

  //===--------------------------------------------------------------------===//
  // Rows of the result
  //===--------------------------------------------------------------------===//

  /// The first `count` rows of the block.
  void emitResults(Value count);

  /// As many rows as fill what is packed into bytes at once, one at least; 0 if
  /// rows are not packed.
  int64_t countRowsPackedTogether();
  void emitPackedResults(Value first, int64_t numRows);

  /// What the channels of a row have in common, null where there is none.
  struct ResultRow {
    Value term, factor, gate;
  };
  ResultRow enterResultRow(Value row);

  /// A vector of channels of the current row, not quantized yet.
  Value createResult(const ResultRow &row, int64_t channel);

  /// Gain or shift, the last or last but one operand, of channels of a head.
  Value loadOfChannels(unsigned fromEnd, int64_t channel);

  /// What zero points of the values add to the sums of a query; null if
  /// nothing.
  Value createContextTerm();

  /// What the sums of a query and the values are multiplied by; null if that
  /// is 1.
  Value createContextFactor();

  /// The sums, as floats.
  Value loadContext(Value row, int64_t channel, Value term);

  /// sigmoid(gate) * gain
  Value createGate(Value logit);

  SmallVector<Value> getResultIndices(int64_t channel);
  void storeResult(Value c, int64_t channel);

  KernelOp op;
  Part part;
  KernelView<AttentionOp> view;
  AttentionPlan plan;
  llvm::ArrayRef<int64_t> layouts;
  int64_t valueSize;
  OperandParams query, key, prob, value;
  bool hasIntegerRows = false;

  int64_t numHeads = 0, numKeyHeads = 0;
  Value numBatches, numQueries, blockRows, queryBlocks, allKeys, offset;

  /// The keys that rows of scores hold. All but the first one count from there.
  Value firstKey, numKeys, lastKey;

  /// Keys in whole vectors, all keys in vectors, their number of vectors, and
  /// keys that rows have room for.
  Value fullKeys, wholeKeys, keyVectors, paddedKeys;

  /// Keys in whole groups.
  Value groupedKeys;

  Value packedKeys, keySums, queryBlock, scoreRows, factors, probSums, tile,
      packedValues, probs, narrowProbs, valueSums, groupCodes, groupList,
      maxima, rowSums, contextRows;

  /// For tile registers.
  Value queryBytes, keyBytes, scoreMatrix, probBytes, valueBytes, contextMatrix;

  /// Where the loops stand.
  struct {
    Value batch, keyHead, head;

    /// The first query of the block, the keys that it sees, where the queries
    /// of a tile are, a row of the block, and where its scores begin.
    Value query, seen, tile, row, scores;

    /// Groups of keys that count, and whether all float values are finite; null
    /// until these are packed.
    Value numGroups, areFinite;
  } at;
};

} // namespace qtx

#endif // QTX_LIB_KERNEL_ATTENTION_EMITTER_H
