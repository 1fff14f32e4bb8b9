//===- Recipe.h - How a model is quantized ----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A recipe as data: docs/Recipes.md lists those with names and describes the
// files that change one for single edges and layers.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_QUANTIZE_RECIPE_H
#define QTX_QUANTIZE_RECIPE_H

#include "qtx/Analysis/Observers.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <vector>

namespace qtx {

/// Which edges are quantized.
enum class EdgeSet { None, MatmulInputs, All };

/// How the channels of an edge are grouped.
enum class Grouping {
  PerTensor,
  /// Equal groups of channels in ascending order of their range.
  Equal,
  /// The same with boundaries where they cost least.
  Unequal,
  /// Outliers form a group of their own where this takes no permutation at run
  /// time.
  Outliers
};

/// What a product does with the groups of its input.
enum class GroupForm {
  /// Sums up each group for itself.
  Grouped,
  /// Knows of none: their scales go into the float weights and into what makes
  /// the input, before either is quantized.
  Folded,
  /// Whichever has the smaller product of estimated error and time.
  Cheaper
};

/// Which edges sort their channels alike.
enum class OrderScope {
  /// All that sums and normalisation join: one order through the residual
  /// stream, in which the model computes.
  Network,
  /// The edges of one feed-forward network, or an edge for itself: channels
  /// move between them at run time.
  Layer
};

struct EdgeRecipe {
  bool isQuantized = true;
  bool isSymmetric = false;
  /// Scales and zero points of each token, found at run time. Linears only
  /// take them.
  bool isDynamic = false;
  Grouping grouping = Grouping::PerTensor;
  int64_t numGroups = 1;
  GroupForm form = GroupForm::Grouped;
  /// Group no other edges than input, result and sum of feed-forward networks.
  bool onlyFeedForward = false;
  /// Scale and shift channels towards one range.
  bool isScaled = false;
  /// With data, scales are those of the least error in the results of linears.
  bool isSearched = false;
  /// Factor by which observed ranges are widened around their middle.
  double margin = 1;
};

struct WeightRecipe {
  bool isQuantized = true;
  unsigned bits = 8;
  /// Columns that share a scale; 0 for one scale per row.
  int64_t block = 0;
  /// Round with the second moments of the inputs, not to the nearest.
  bool isErrorMinimised = false;
  /// Keep weights so small that AVX2 adds products of bytes up in 16 bits
  /// (ShortSums.h).
  bool hasShortSums = false;
};

struct Recipe {
  /// As users write it.
  std::string name = "none";
  EdgeSet edges = EdgeSet::None;
  EdgeRecipe edge;
  WeightRecipe weight;
  OrderScope order = OrderScope::Network;
  /// How ranges are found unless the user says so.
  ObserverOptions observer;
  /// Make up for the mean error of linears in their biases.
  bool hasBiasCorrection = false;
  /// Subtract from keys what softmax does not see.
  bool centresKeys = false;
  /// Bring the channels of values to one range.
  bool equalisesValues = false;

  /// Changes for the edges or layers whose name matches.
  struct Override {
    /// A glob pattern.
    std::string match;
    std::optional<bool> isQuantized, isSymmetric, isScaled, isSearched,
        isErrorMinimised, hasShortSums;
    std::optional<int64_t> numGroups, bits, block;
    std::optional<double> margin;
    std::optional<Grouping> grouping;
    std::optional<GroupForm> form;
    std::optional<ObserverOptions> observer;

    bool matches(llvm::StringRef name) const;
  };
  std::vector<Override> edgeOverrides, layerOverrides;

  bool isFloat() const { return edges == EdgeSet::None; }
  EdgeRecipe getEdge(llvm::StringRef edgeName) const;
  ObserverOptions getObserver(llvm::StringRef edgeName) const;
  WeightRecipe getWeight(llvm::StringRef layerName) const;
};

/// What models are quantized by unless another recipe is named.
inline constexpr llvm::StringLiteral kDefaultRecipe = "int8";

/// More groups than this have no use.
inline constexpr int64_t kMaxRecipeGroups = 64;

/// The recipe `NAME[:K]`.
llvm::Expected<Recipe> parseRecipeName(llvm::StringRef text);

/// The recipe `NAME[:K]`, or that of the file `text` if it ends in `.json`.
llvm::Expected<Recipe> parseRecipe(llvm::StringRef text);

/// The recipe that the text of a file describes.
llvm::Expected<Recipe> parseRecipeFile(llvm::StringRef contents,
                                       llvm::StringRef name);

} // namespace qtx

#endif // QTX_QUANTIZE_RECIPE_H
