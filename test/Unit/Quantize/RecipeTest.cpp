//===- RecipeTest.cpp - Reading recipes -----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Quantize/Recipe.h"
#include "gtest/gtest.h"

using namespace qtx;
using llvm::StringRef;

namespace {

std::string getError(llvm::Expected<Recipe> recipe) {
  return recipe ? "none" : llvm::toString(recipe.takeError());
}

std::string getFileError(StringRef text) {
  return getError(parseRecipeFile(text, "r"));
}

TEST(Recipe, Names) {
  for (StringRef name : {"int8", "int8-all", "w8a8", "w8a8-dynamic", "w4a8",
                         "peg:6", "peg-opt:3", "peg-dynamic:2"})
    EXPECT_FALSE(llvm::cantFail(parseRecipe(name)).isFloat()) << name.str();
  EXPECT_TRUE(llvm::cantFail(parseRecipe("none")).isFloat());
  EXPECT_EQ(llvm::cantFail(parseRecipe("peg:6")).edge.numGroups, 6);
  EXPECT_TRUE(llvm::cantFail(parseRecipe("int8")).needsRanges());
  EXPECT_FALSE(llvm::cantFail(parseRecipe("w8a8-dynamic")).needsRanges());
}

TEST(Recipe, WrongNames) {
  EXPECT_EQ(getError(parseRecipe("int8:4")),
            "recipe 'int8' takes no number of groups, found 'int8:4'");
  for (StringRef text : {"peg", "peg:0", "peg:65", "peg:two", "peg:"})
    EXPECT_EQ(getError(parseRecipe(text)),
              "expected a number of groups from 1 to 64, as 'peg:6', found '" +
                  text.str() + "'");
  EXPECT_TRUE(StringRef(getError(parseRecipe("")))
                  .starts_with("expected a recipe (int8, "));
}

TEST(Recipe, Overrides) {
  Recipe recipe = llvm::cantFail(parseRecipeFile(
      R"({"base": "int8",
          "edges": [{"match": "layer.0.*", "scale": false, "groups": 3},
                    {"match": "*.out", "quantize": false, "margin": 1.5,
                     "symmetric": false}],
          "layers": [{"match": "layer.?.up", "bits": 4, "block": 32,
                      "gptq": false}]})",
      "r"));
  EdgeRecipe edge = recipe.getEdge("layer.0.in");
  EXPECT_EQ(edge.grouping, Grouping::Unequal);
  EXPECT_EQ(edge.numGroups, 3);
  EXPECT_FALSE(edge.isScaled);
  EXPECT_TRUE(edge.isQuantized && edge.isSymmetric);
  edge = recipe.getEdge("layer.1.out");
  EXPECT_FALSE(edge.isQuantized || edge.isSymmetric);
  EXPECT_EQ(edge.margin, 1.5);
  WeightRecipe weight = recipe.getWeight("layer.1.up");
  EXPECT_EQ(weight.bits, 4u);
  EXPECT_EQ(weight.block, 32);
  EXPECT_FALSE(weight.isErrorMinimised);
  EXPECT_TRUE(recipe.getWeight("other").isErrorMinimised);
}

TEST(Recipe, Observers) {
  EXPECT_EQ(llvm::cantFail(parseRecipe("int8")).observer.kind,
            ObserverKind::Extrapolated);
  // As published: the smallest and largest values.
  EXPECT_EQ(llvm::cantFail(parseRecipe("peg:6")).observer.kind,
            ObserverKind::MinMax);
  Recipe recipe = llvm::cantFail(parseRecipeFile(
      R"({"base": "int8", "observer": "percentile:99.9"})", "r"));
  EXPECT_EQ(recipe.order, OrderScope::Network);
  EXPECT_EQ(llvm::cantFail(
                parseRecipeFile(R"({"base": "peg:2", "order": "layer"})", "r"))
                .order,
            OrderScope::Layer);
  EXPECT_EQ(recipe.observer.kind, ObserverKind::Percentile);
  EXPECT_EQ(recipe.observer.percentile, 99.9);
}

TEST(Recipe, WrongFiles) {
  EXPECT_TRUE(StringRef(getFileError("{")).starts_with("r: "));
  EXPECT_EQ(getFileError("[]"), "r: expected an object");
  EXPECT_EQ(getFileError("{}"), "r: expected the name of a recipe for 'base'");
  EXPECT_EQ(
      getFileError(R"({"base": "int8", "layer": []})"),
      "r: unknown key 'layer', expected base, observer, order, edges, layers");
  EXPECT_EQ(getFileError(R"({"base": "int8", "order": 1})"),
            "r: expected 'network' or 'layer' for 'order'");
  EXPECT_EQ(getFileError(R"({"base": "int8", "observer": "mse:x"})"),
            "r: observer: expected 2 to 16 bits, found 'x'");
  EXPECT_EQ(getFileError(R"({"base": "int8", "edges": {}})"),
            "r: expected an array for 'edges'");
  EXPECT_EQ(getFileError(R"({"base": "int8", "edges": [1]})"),
            "r: edges[0]: expected an object");
  EXPECT_EQ(getFileError(R"({"base": "int8", "edges": [{}]})"),
            "r: edges[0]: expected a key 'match'");
  EXPECT_EQ(getFileError(R"({"base": "int8", "edges": [{"match": 1}]})"),
            "r: edges[0]: expected a string for 'match'");
  EXPECT_EQ(
      getFileError(R"({"base": "int8", "layers": [{"match": "a", "bit": 4}]})"),
      "r: layers[0]: unknown key 'bit', expected match, quantize, gptq, bits, "
      "block");
  EXPECT_EQ(getFileError(
                R"({"base": "int8", "layers": [{"match": "a", "bits": 5}]})"),
            "r: layers[0]: expected 4 or 8 for 'bits'");
  EXPECT_EQ(getFileError(
                R"({"base": "int8", "edges": [{"match": "a", "groups": 0}]})"),
            "r: edges[0]: expected an integer from 1 to 64 for 'groups'");
  EXPECT_EQ(getFileError(
                R"({"base": "int8", "edges": [{"match": "a", "margin": 99}]})"),
            "r: edges[0]: expected a number from 0.1 to 10 for 'margin'");
  EXPECT_EQ(getFileError(
                R"({"base": "int8", "edges": [{"match": "a", "scale": 1}]})"),
            "r: edges[0]: expected true or false for 'scale'");
  EXPECT_NE(getFileError(R"({"base": "int8", "edges": [{"match": "[a"}]})"),
            "none");
}

} // namespace
