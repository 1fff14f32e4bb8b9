//===- Recipe.cpp - How a model is quantized ------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Quantize/Recipe.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/GlobPattern.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace qtx;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

namespace {
struct NamedRecipe {
  StringRef name;
  bool takesGroups;
  Recipe recipe;
};
} // namespace

static EdgeRecipe makeScaledEdge() {
  EdgeRecipe edge;
  edge.isSymmetric = true;
  edge.isScaled = true;
  edge.grouping = Grouping::Outliers;
  return edge;
}

static EdgeRecipe makeGroupedEdge(Grouping grouping) {
  EdgeRecipe edge;
  edge.grouping = grouping;
  return edge;
}

/// As published.
static EdgeRecipe makeFeedForwardEdge() {
  EdgeRecipe edge = makeGroupedEdge(Grouping::Equal);
  edge.onlyFeedForward = true;
  return edge;
}

static EdgeRecipe makeFormedEdge() {
  EdgeRecipe edge = makeGroupedEdge(Grouping::Unequal);
  edge.form = GroupForm::Cheaper;
  return edge;
}

static EdgeRecipe makeDynamicEdge(Grouping grouping) {
  EdgeRecipe edge = makeGroupedEdge(grouping);
  edge.isDynamic = true;
  return edge;
}

static std::vector<NamedRecipe> getNamedRecipes() {
  WeightRecipe nearest, gptq, gptq4, gptqShort;
  gptq.isErrorMinimised = gptq4.isErrorMinimised = true;
  gptq4.bits = 4;
  gptq4.block = 32;
  gptqShort = gptq;
  gptqShort.hasShortSums = true;
  auto make = [](EdgeSet edges, EdgeRecipe edge, WeightRecipe weight,
                 bool hasBiasCorrection) {
    Recipe recipe;
    recipe.edges = edges;
    recipe.edge = edge;
    recipe.weight = weight;
    recipe.hasBiasCorrection = hasBiasCorrection;
    // What static quantizers of attention need.
    recipe.centresKeys = recipe.equalisesValues =
        edge.isScaled || (edge.isDynamic && hasBiasCorrection);
    if (hasBiasCorrection)
      recipe.observer.kind = ObserverKind::Extrapolated;
    return recipe;
  };
  return {
      {"int8", false,
       make(EdgeSet::MatmulInputs, makeScaledEdge(), gptq, true)},
      {"int8-avx2", false,
       make(EdgeSet::MatmulInputs, makeScaledEdge(), gptqShort, true)},
      {"int8-all", false, make(EdgeSet::All, makeScaledEdge(), gptq, true)},
      {"w8a8", false, make(EdgeSet::MatmulInputs, {}, nearest, false)},
      {"w8a8-dynamic", false,
       make(EdgeSet::MatmulInputs, makeDynamicEdge(Grouping::PerTensor),
            nearest, false)},
      {"peg", true, make(EdgeSet::All, makeFeedForwardEdge(), nearest, false)},
      {"peg-opt", true,
       make(EdgeSet::MatmulInputs, makeFormedEdge(), gptq, true)},
      {"peg-dynamic", true,
       make(EdgeSet::MatmulInputs, makeDynamicEdge(Grouping::Equal), gptq,
            true)},
      {"w4a8", false,
       make(EdgeSet::MatmulInputs, makeScaledEdge(), gptq4, true)},
      {"none", false, Recipe()},
  };
}

static std::string listNames() {
  return llvm::join(llvm::map_range(getNamedRecipes(),
                                    [](const NamedRecipe &named) {
                                      return named.name.str() +
                                             (named.takesGroups ? ":K" : "");
                                    }),
                    ", ");
}

llvm::Expected<Recipe> qtx::parseRecipeName(StringRef text) {
  auto [name, count] = text.split(':');
  std::vector<NamedRecipe> all = getNamedRecipes();
  auto found = llvm::find_if(all, [name = name](const NamedRecipe &named) {
    return named.name == name;
  });
  if (found == all.end())
    return llvm::createStringError("expected a recipe (" + listNames() +
                                   ") or a file that ends in .json, found '" +
                                   text + "'");
  Recipe recipe = found->recipe;
  recipe.name = text.str();
  if (!found->takesGroups) {
    if (text.contains(':'))
      return llvm::createStringError("recipe '" + name +
                                     "' takes no number of groups, found '" +
                                     text + "'");
    return recipe;
  }
  if (count.getAsInteger(10, recipe.edge.numGroups) ||
      recipe.edge.numGroups < 1 || recipe.edge.numGroups > kMaxRecipeGroups)
    return llvm::createStringError("expected a number of groups from 1 to " +
                                   Twine(kMaxRecipeGroups) + ", as '" + name +
                                   ":6', found '" + text + "'");
  return recipe;
}

llvm::Expected<Recipe> qtx::parseRecipe(StringRef text) {
  if (!text.ends_with(".json"))
    return parseRecipeName(text);
  auto file = llvm::MemoryBuffer::getFile(text);
  if (!file)
    return llvm::createStringError(text + ": " + file.getError().message());
  return parseRecipeFile((*file)->getBuffer(), text);
}

//===----------------------------------------------------------------------===//
// Choices
//===----------------------------------------------------------------------===//

bool Recipe::Override::matches(StringRef name) const {
  // A pattern points into its text, so it is not kept.
  auto pattern = llvm::GlobPattern::create(match);
  if (pattern)
    return pattern->match(name);
  llvm::consumeError(pattern.takeError());
  return false;
}

template <typename T, typename U>
static void replace(T &target, const std::optional<U> &value) {
  if (value)
    target = *value;
}

/// A number of groups alone keeps equal ones, and makes others unequal.
static void replaceGroups(EdgeRecipe &edge, const Recipe::Override &override) {
  if (!override.grouping && !override.numGroups)
    return;
  edge.onlyFeedForward = false;
  replace(edge.numGroups, override.numGroups);
  if (override.grouping)
    edge.grouping = *override.grouping;
  else if (edge.numGroups == 1)
    edge.grouping = Grouping::PerTensor;
  else if (edge.grouping != Grouping::Equal)
    edge.grouping = Grouping::Unequal;
}

EdgeRecipe Recipe::getEdge(StringRef edgeName) const {
  EdgeRecipe result = edge;
  for (const Override &override : edgeOverrides) {
    if (!override.matches(edgeName))
      continue;
    replace(result.isQuantized, override.isQuantized);
    replace(result.isSymmetric, override.isSymmetric);
    replace(result.isScaled, override.isScaled);
    replace(result.isSearched, override.isSearched);
    replace(result.margin, override.margin);
    replace(result.form, override.form);
    replaceGroups(result, override);
  }
  return result;
}

ObserverOptions Recipe::getObserver(StringRef edgeName) const {
  ObserverOptions result = observer;
  for (const Override &override : edgeOverrides)
    if (override.matches(edgeName))
      replace(result, override.observer);
  return result;
}

WeightRecipe Recipe::getWeight(StringRef layerName) const {
  WeightRecipe result = weight;
  for (const Override &override : layerOverrides) {
    if (!override.matches(layerName))
      continue;
    replace(result.isQuantized, override.isQuantized);
    replace(result.isErrorMinimised, override.isErrorMinimised);
    replace(result.hasShortSums, override.hasShortSums);
    replace(result.bits, override.bits);
    replace(result.block, override.block);
  }
  return result;
}
