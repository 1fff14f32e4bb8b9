//===- Quantizer.h - The stage quantize, inside -----------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// First, edges pass through a quantizer and a dequantizer, and the weights of
// linears take in what changes the order and scale of their inputs: this form
// simulates the model in float arithmetic, and data is streamed through it.
// Then weights become integers, and operations use the quantized operands.
// Each step has a file of its own.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_QUANTIZE_QUANTIZER_H
#define QTX_LIB_QUANTIZE_QUANTIZER_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Analysis/GPTQ.h"
#include "qtx/Analysis/Moments.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Quantize/Parameters.h"
#include "qtx/Quantize/Quantize.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/MapVector.h"

namespace qtx {

/// A value and those of its uses that read it quantized alike.
struct Edge {
  mlir::Value value;
  llvm::SmallVector<mlir::OpOperand *> uses;
  EdgeRecipe recipe;
  /// All uses are inputs of linears whose weights can change.
  bool feedsLinearsOnly = true;
  /// Of each channel, where scales are searched; else empty.
  std::vector<double> variances;
  /// Why it stays float although the recipe quantizes it; empty if it does not.
  std::string obstacle;

  /// Absent where the channels are not scaled.
  std::optional<ChannelScaling> scaling;
  ChannelGroups groups;
  mlir::Type elementType;

  /// In front of the quantizer and behind the dequantizer.
  mlir::Value exact, approximate;
};

/// Weights and bias of a linear in quantized form, before the IR has them.
struct RoundedLinear {
  RoundingOptions options;
  RoundedWeights weights;
  std::vector<float> bias;
  /// Whether data says which inputs the linear has.
  bool hasData = false;
};

/// What an edge held: sums in front of the quantizer, moments behind.
struct EdgeMoments {
  std::vector<double> sums;
  SecondMoments moments;
};

class Quantizer {
public:
  Quantizer(mlir::func::FuncOp function, const Recipe &recipe,
            const QuantizeOptions &options)
      : function(function), recipe(recipe), options(options) {}

  mlir::LogicalResult run();

private:
  //===--- Edges ---===//
  void prepareAttention();
  void findFeedForwards();
  void findStreams();
  void collectEdges();
  void collectUse(mlir::OpOperand &use,
                  llvm::MapVector<mlir::Value, Edge> &edges);
  void collectRemaining();
  void dropLoneFactors();
  bool isQuantizedAt(mlir::OpOperand &use);
  mlir::LogicalResult checkOverrides();

  //===--- Explanations ---===//
  /// Why something stays float: because of the recipe, or else against it.
  struct Obstacle {
    std::string text;
    bool isChoice = false;
  };
  Obstacle findWeightObstacle(LinearOp op) const;
  Obstacle findEdgeObstacle(mlir::Value value) const;
  Obstacle findLayerObstacle(mlir::Operation *op);
  void explain(mlir::Location loc, const Obstacle &obstacle);
  void explainFloatEdges();
  void explainFloatLayers();
  /// Reports that all edges and layers that are float stay so.
  void leaveAll(llvm::StringRef reason);
  void explainQuantized(const Edge &edge);
  /// Channels are shifted, and maybe scaled, where `value` is computed.
  void explainRescaling(mlir::Value value, bool isScaled);
  /// `groups` would have the outliers apart.
  void explainOutliers(const Edge &edge, const ChannelGroups &groups);
  void explainGroups(const Edge &edge);
  void explainWeights(LinearOp op, const WeightRecipe &choice,
                      const RoundedLinear &rounded);

  //===--- Parameters ---===//
  /// Scales of each token are for linears: what other products read has static
  /// ones, or stays float without data.
  void takeStaticScales(Edge &edge, bool hasRanges);
  mlir::LogicalResult choose(Edge &edge);
  mlir::FailureOr<ChannelRanges> getRanges(const Edge &edge) const;
  /// What a quantized sum saturates, its operand `edge` need not hold.
  void limitToSum(const Edge &edge, ChannelRanges &ranges) const;
  mlir::LogicalResult chooseGroups(Edge &edge, llvm::ArrayRef<float> spans);
  llvm::SmallVector<int64_t> getOrder(Edge &edge, llvm::ArrayRef<float> spans);
  llvm::SmallVector<int64_t> getStreamOrder(mlir::Value value,
                                            llvm::ArrayRef<float> spans);
  mlir::LogicalResult observeVariances();
  /// Gives narrow channels of `ranges` room.
  std::optional<ChannelScaling> searchScaling(const Edge &edge,
                                              ChannelRanges &ranges) const;
  void chooseScaling(Edge &edge, ChannelRanges &ranges);
  void chooseForm(Edge &edge, const ChannelRanges &ranges,
                  llvm::SmallVector<AffineParameters> &parameters);

  //===--- Rewrites ---===//
  void insert(Edge &edge);
  void endStreams();
  mlir::Value quantize(mlir::OpBuilder &builder, Edge &edge, mlir::Value value);
  mlir::Value restore(mlir::OpBuilder &builder, const Edge &edge);
  void adjust(LinearOp op, const Edge &edge);
  void quantizeProbabilities();

  //===--- Weights ---===//
  mlir::LogicalResult observe();
  bool needsMoments() const;
  llvm::Error addFeed(size_t edge, const LaneFeed &lane);
  void roundLinears(size_t edge);
  llvm::SmallVector<LinearOp> getLinears(const Edge &edge) const;
  RoundedLinear round(LinearOp op, const Edge &edge,
                      const EdgeMoments *known) const;
  void quantizeWeights();
  void store(LinearOp op, const RoundedLinear &rounded);
  mlir::LogicalResult checkWeights();

  mlir::func::FuncOp function;
  const Recipe &recipe;
  const QuantizeOptions &options;
  /// Does not grow once edges are quantized.
  std::vector<Edge> edges;
  /// The factor because of which a product of activations stays float.
  llvm::DenseMap<mlir::Operation *, std::string> loneFactors;
  /// For recipes with groups: the edges of feed-forward networks that have
  /// groups, with the edge that says in which order.
  llvm::DenseMap<mlir::Value, mlir::Value> orderOf;
  /// Values whose channels sums, normalisation and activations keep in one
  /// order, by `Value::getAsOpaquePointer`.
  llvm::EquivalenceClasses<void *> streams;
  /// The order of each stream that has one, by its leader.
  llvm::DenseMap<void *, llvm::SmallVector<int64_t>> streamOrders;
  /// While data streams through the segment that computes the edge.
  std::vector<std::optional<EdgeMoments>> moments;
  /// Linears that data rounded.
  llvm::DenseMap<mlir::Operation *, RoundedLinear> roundedLinears;
  /// Float weights that linears have until they are quantized, and that no copy
  /// of the model has.
  llvm::DenseMap<mlir::Operation *, mlir::DenseResourceElementsAttr>
      adjustedWeights;
  bool hasMissingRanges = false;
};

/// The operands of attention or a batched product that are multiplied; empty
/// for other operations.
llvm::SmallVector<mlir::OpOperand *> getFactors(mlir::Operation *op);

/// The operand that a quantizer goes in front of: of heads, what is split.
mlir::OpOperand &getTarget(mlir::OpOperand &use);

/// Whether the channels of `value` can be stored in another order at no cost:
/// between a linear and the linears that read its activations.
bool isFreelyOrdered(mlir::Value value);

inline constexpr auto kQuantizeRemark =
    mlir::remark::RemarkOpts::name("Quantize").category("qtx-quantize");

/// The step of each channel of `edge`, in its own unit, where its groups have
/// `parameters`.
std::vector<float> getSteps(const Edge &edge,
                            llvm::ArrayRef<AffineParameters> parameters);

/// What goals of accuracy were reached with, on encoders: channels come closer
/// to one range by this power of the ratio of their spans to the median.
inline constexpr float kScaleExponent = 0.75f;
inline constexpr float kNormalisedScaleExponent = 0.9f;
inline constexpr float kSmallestScale = 0.25f;

/// The size of the last axis.
int64_t getNumChannels(mlir::Value value);

/// Whether sums, normalisation and activations keep the order of channels: `op`
/// is one of them.
bool isChannelwise(mlir::Operation *op);

/// The quantized element type of 8 bits with `parameters` for each group.
mlir::Type makeType(mlir::MLIRContext *context, llvm::ArrayRef<int64_t> sizes,
                    llvm::ArrayRef<AffineParameters> parameters);

} // namespace qtx

#endif // QTX_LIB_QUANTIZE_QUANTIZER_H
