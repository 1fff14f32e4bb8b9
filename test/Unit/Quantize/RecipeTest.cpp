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
  for (StringRef name :
       {"int8", "int8-avx2", "int8-all", "w8a8", "w8a8-dynamic", "w4a8",
        "peg:6", "peg-opt:3", "peg-dynamic:2"})
    EXPECT_FALSE(llvm::cantFail(parseRecipe(name)).isFloat()) << name.str();
  EXPECT_TRUE(llvm::cantFail(parseRecipe("none")).isFloat());
  EXPECT_EQ(llvm::cantFail(parseRecipe("peg:6")).edge.numGroups, 6);
}

TEST(Recipe, AttentionInStaticIntegers) {
  for (StringRef name :
       {"int8", "int8-avx2", "int8-all", "w4a8", "peg-dynamic:2"}) {
    Recipe recipe = llvm::cantFail(parseRecipe(name));
    EXPECT_TRUE(recipe.centresKeys && recipe.equalisesValues) << name.str();
    EXPECT_TRUE(recipe.hasBiasCorrection) << name.str();
    EXPECT_EQ(recipe.observer.kind, ObserverKind::Extrapolated) << name.str();
  }
  for (StringRef name : {"w8a8", "w8a8-dynamic", "peg:6", "peg-opt:3"}) {
    Recipe recipe = llvm::cantFail(parseRecipe(name));
    EXPECT_FALSE(recipe.centresKeys || recipe.equalisesValues) << name.str();
  }
}

TEST(Recipe, ShortSums) {
  EXPECT_TRUE(
      llvm::cantFail(parseRecipe("int8-avx2")).getWeight("a").hasShortSums);
  EXPECT_FALSE(llvm::cantFail(parseRecipe("int8")).getWeight("a").hasShortSums);
  Recipe recipe = llvm::cantFail(parseRecipeFile(
      R"({"base": "int8", "layers": [{"match": "b", "short_sums": true}]})",
      "r"));
  EXPECT_FALSE(recipe.getWeight("a").hasShortSums);
  EXPECT_TRUE(recipe.getWeight("b").hasShortSums);
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
          "edges": [{"match": "layer.0.*", "scale": false, "groups": 3,
                     "search": false},
                    {"match": "*.out", "quantize": false, "margin": 1.5,
                     "symmetric": false}],
          "layers": [{"match": "layer.?.up", "bits": 4, "block": 32,
                      "gptq": false}]})",
      "r"));
  EdgeRecipe edge = recipe.getEdge("layer.0.in");
  EXPECT_EQ(edge.grouping, Grouping::Unequal);
  EXPECT_EQ(edge.numGroups, 3);
  EXPECT_FALSE(edge.isScaled || edge.isSearched);
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

TEST(Recipe, Groups) {
  Recipe recipe = llvm::cantFail(parseRecipeFile(
      R"({"base": "peg:4",
          "edges": [{"match": "a", "groups": 2},
                    {"match": "b", "grouping": "optimal", "form": "auto"},
                    {"match": "c", "grouping": "per_tensor"},
                    {"match": "d", "grouping": "outliers", "form": "folded"},
                    {"match": "e", "grouping": "equal", "groups": 8,
                     "form": "grouped"},
                    {"match": "f", "groups": 1}]})",
      "r"));
  EXPECT_TRUE(recipe.getEdge("other").onlyFeedForward);
  EdgeRecipe edge = recipe.getEdge("a");
  EXPECT_EQ(edge.grouping, Grouping::Equal);
  EXPECT_EQ(edge.numGroups, 2);
  EXPECT_EQ(edge.form, GroupForm::Grouped);
  EXPECT_FALSE(edge.onlyFeedForward);
  edge = recipe.getEdge("b");
  EXPECT_EQ(edge.grouping, Grouping::Unequal);
  EXPECT_EQ(edge.numGroups, 4);
  EXPECT_EQ(edge.form, GroupForm::Cheaper);
  EXPECT_EQ(recipe.getEdge("c").grouping, Grouping::PerTensor);
  EXPECT_EQ(recipe.getEdge("d").grouping, Grouping::Outliers);
  EXPECT_EQ(recipe.getEdge("d").form, GroupForm::Folded);
  EXPECT_EQ(recipe.getEdge("e").numGroups, 8);
  EXPECT_EQ(recipe.getEdge("f").grouping, Grouping::PerTensor);
}

TEST(Recipe, Switches) {
  Recipe recipe = llvm::cantFail(parseRecipe("int8"));
  EXPECT_TRUE(recipe.hasBiasCorrection && recipe.centresKeys &&
              recipe.equalisesValues);
  recipe = llvm::cantFail(parseRecipeFile(
      R"({"base": "int8", "margin": 1.25, "bias_correction": false,
          "centre_keys": false, "equalise_values": false,
          "edges": [{"match": "*.in", "margin": 2}]})",
      "r"));
  EXPECT_FALSE(recipe.hasBiasCorrection || recipe.centresKeys ||
               recipe.equalisesValues);
  EXPECT_EQ(recipe.getEdge("a.out").margin, 1.25);
  EXPECT_EQ(recipe.getEdge("a.in").margin, 2);
  recipe = llvm::cantFail(
      parseRecipeFile(R"({"base": "w8a8", "centre_keys": true})", "r"));
  EXPECT_TRUE(recipe.centresKeys);
  EXPECT_FALSE(recipe.equalisesValues);
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
  recipe = llvm::cantFail(parseRecipeFile(
      R"({"base": "int8", "edges": [{"match": "*.in", "observer": "mse:4"}]})",
      "r"));
  EXPECT_EQ(recipe.getObserver("a.in").kind, ObserverKind::Mse);
  EXPECT_EQ(recipe.getObserver("a.in").bits, 4u);
  EXPECT_EQ(recipe.getObserver("a.out").kind, ObserverKind::Extrapolated);
}

TEST(Recipe, WrongFiles) {
  EXPECT_TRUE(StringRef(getFileError("{")).starts_with("r:1:"));
  EXPECT_EQ(getFileError("[]"), "r: expected an object");
  EXPECT_EQ(getFileError("{}"), "r: expected the name of a recipe for 'base'");
  EXPECT_EQ(
      getFileError(R"({"base": "int8", "layer": []})"),
      "r: unknown key 'layer', expected base, edges, layers, observer, order, "
      "margin, bias_correction, centre_keys, equalise_values");
  EXPECT_EQ(getFileError(R"({"base": "int8", "order": 1})"),
            "r: expected one of 'network', 'layer' for 'order'");
  EXPECT_EQ(getFileError(R"({"base": "int8", "margin": 0})"),
            "r: expected a number from 0.1 to 10 for 'margin'");
  for (StringRef key : {"bias_correction", "centre_keys", "equalise_values"})
    EXPECT_EQ(getFileError(R"({"base": "int8", ")" + key.str() + R"(": 1})"),
              "r: expected true or false for '" + key.str() + "'");
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
      "r: layers[0]: unknown key 'bit', expected match, quantize, gptq, "
      "short_sums, bits, block");
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
  auto getEdgeError = [](StringRef base, StringRef keys) {
    return getFileError(R"({"base": ")" + base.str() +
                        R"(", "edges": [{"match": "a", )" + keys.str() + "}]}");
  };
  EXPECT_EQ(getEdgeError("int8", R"("grouping": "unequal")"),
            "r: edges[0]: expected one of 'per_tensor', 'outliers', 'equal', "
            "'optimal' for 'grouping'");
  EXPECT_EQ(getEdgeError("int8", R"("form": true)"),
            "r: edges[0]: expected one of 'grouped', 'folded', 'auto' for "
            "'form'");
  EXPECT_EQ(getEdgeError("peg-dynamic:2", R"("form": "folded")"),
            "r: edges[0]: expected a base with static ranges for 'form'");
  EXPECT_EQ(getEdgeError("int8", R"("grouping": "outliers", "groups": 2)"),
            "r: edges[0]: expected no 'groups' for this 'grouping'");
  EXPECT_EQ(getEdgeError("int8", R"("grouping": "optimal")"),
            "r: edges[0]: expected 'groups' for this 'grouping'");
  EXPECT_EQ(
      getEdgeError("int8", R"("observer": "percentile:101")"),
      "r: edges[0]: observer: expected a percentile from 50.1 to 100, found "
      "'101'");
  EXPECT_NE(getFileError(R"({"base": "int8", "edges": [{"match": "[a"}]})"),
            "none");
}

} // namespace
