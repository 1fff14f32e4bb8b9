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
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>

using namespace qtx;
using llvm::StringRef;
using llvm::Twine;

/// More groups than this have no use.
static constexpr int64_t kMaxGroups = 64;

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

static EdgeRecipe makeGroupedEdge(Grouping grouping, bool isDynamic = false) {
  EdgeRecipe edge;
  edge.grouping = grouping;
  edge.isDynamic = isDynamic;
  return edge;
}

static EdgeRecipe makeDynamicEdge() {
  EdgeRecipe edge;
  edge.isDynamic = true;
  return edge;
}

static std::vector<NamedRecipe> getNamedRecipes() {
  WeightRecipe nearest, gptq, gptq4;
  gptq.isErrorMinimised = gptq4.isErrorMinimised = true;
  gptq4.bits = 4;
  gptq4.block = 32;
  auto make = [](EdgeSet edges, EdgeRecipe edge, WeightRecipe weight,
                 bool hasBiasCorrection) {
    Recipe recipe;
    recipe.edges = edges;
    recipe.edge = edge;
    recipe.weight = weight;
    recipe.hasBiasCorrection = hasBiasCorrection;
    if (hasBiasCorrection)
      recipe.observer.kind = ObserverKind::Extrapolated;
    return recipe;
  };
  return {
      {"int8", false,
       make(EdgeSet::MatmulInputs, makeScaledEdge(), gptq, true)},
      {"int8-all", false, make(EdgeSet::All, makeScaledEdge(), gptq, true)},
      {"w8a8", false, make(EdgeSet::MatmulInputs, {}, nearest, false)},
      {"w8a8-dynamic", false,
       make(EdgeSet::LinearInputs, makeDynamicEdge(), nearest, false)},
      {"peg", true,
       make(EdgeSet::All, makeGroupedEdge(Grouping::Equal), nearest, false)},
      {"peg-opt", true,
       make(EdgeSet::MatmulInputs, makeGroupedEdge(Grouping::Unequal), gptq,
            true)},
      {"peg-dynamic", true,
       make(EdgeSet::LinearInputs, makeGroupedEdge(Grouping::Equal, true), gptq,
            false)},
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

static llvm::Expected<Recipe> parseName(StringRef text) {
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
      recipe.edge.numGroups < 1 || recipe.edge.numGroups > kMaxGroups)
    return llvm::createStringError("expected a number of groups from 1 to " +
                                   Twine(kMaxGroups) + ", as '" + name +
                                   ":6', found '" + text + "'");
  return recipe;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

namespace {
/// Reads the keys of one object; every key must be asked for.
class ObjectReader {
public:
  ObjectReader(const llvm::json::Object &object, StringRef where)
      : object(object), where(where) {}

  template <typename T>
  void read(
      StringRef key, StringRef expected, std::optional<T> &target,
      llvm::function_ref<std::optional<T>(const llvm::json::Value &)> convert) {
    known.push_back(key.str());
    const llvm::json::Value *value = object.get(key);
    if (!value)
      return;
    target = convert(*value);
    if (!target)
      fail("expected " + expected + " for '" + key + "'");
  }

  void readBool(StringRef key, std::optional<bool> &target) {
    read<bool>(
        key, "true or false", target,
        [](const llvm::json::Value &value) { return value.getAsBoolean(); });
  }

  void readInteger(StringRef key, int64_t smallest, int64_t largest,
                   std::optional<int64_t> &target) {
    std::string expected = "an integer from " + std::to_string(smallest) +
                           " to " + std::to_string(largest);
    read<int64_t>(key, expected, target, [&](const llvm::json::Value &value) {
      std::optional<int64_t> number = value.getAsInteger();
      if (number && (*number < smallest || *number > largest))
        number.reset();
      return number;
    });
  }

  void readText(StringRef key, std::optional<std::string> &target) {
    read<std::string>(
        key, "a string", target,
        [](const llvm::json::Value &value) -> std::optional<std::string> {
          if (auto text = value.getAsString())
            return text->str();
          return std::nullopt;
        });
  }

  void fail(const Twine &message) {
    if (problem.empty())
      problem = (where + ": " + message).str();
  }

  /// The first problem, unknown keys included.
  llvm::Error finish() {
    for (const auto &entry : object)
      if (!llvm::is_contained(known, StringRef(entry.first)))
        fail("unknown key '" + StringRef(entry.first) + "', expected " +
             llvm::join(known, ", "));
    if (problem.empty())
      return llvm::Error::success();
    return llvm::createStringError(problem);
  }

private:
  const llvm::json::Object &object;
  std::string where;
  std::vector<std::string> known;
  std::string problem;
};
} // namespace

static llvm::Expected<Recipe::Override>
parseOverride(const llvm::json::Value &value, StringRef where, bool isEdge) {
  const llvm::json::Object *object = value.getAsObject();
  if (!object)
    return llvm::createStringError(where + ": expected an object");
  ObjectReader reader(*object, where);
  Recipe::Override result;
  std::optional<std::string> match;
  reader.readText("match", match);
  reader.readBool("quantize", result.isQuantized);
  if (isEdge) {
    reader.readBool("symmetric", result.isSymmetric);
    reader.readBool("scale", result.isScaled);
    reader.readInteger("groups", 1, kMaxGroups, result.numGroups);
    reader.read<double>("margin", "a number from 0.1 to 10", result.margin,
                        [](const llvm::json::Value &value) {
                          std::optional<double> number = value.getAsNumber();
                          if (number && !(*number >= 0.1 && *number <= 10))
                            number.reset();
                          return number;
                        });
  } else {
    reader.readBool("gptq", result.isErrorMinimised);
    reader.readInteger("bits", 4, 8, result.bits);
    if (result.bits && *result.bits != 4 && *result.bits != 8)
      reader.fail("expected 4 or 8 for 'bits'");
    reader.readInteger("block", 0, 1 << 20, result.block);
  }
  if (llvm::Error error = reader.finish())
    return error;
  if (!match)
    return llvm::createStringError(where + ": expected a key 'match'");
  auto pattern = llvm::GlobPattern::create(*match);
  if (!pattern)
    return llvm::createStringError(where + ": " +
                                   llvm::toString(pattern.takeError()));
  result.match = *match;
  return result;
}

static llvm::Error parseOverrides(const llvm::json::Object &root, StringRef key,
                                  StringRef file,
                                  std::vector<Recipe::Override> &overrides) {
  const llvm::json::Value *value = root.get(key);
  if (!value)
    return llvm::Error::success();
  const llvm::json::Array *array = value->getAsArray();
  if (!array)
    return llvm::createStringError(file + ": expected an array for '" + key +
                                   "'");
  for (auto [index, entry] : llvm::enumerate(*array)) {
    std::string where = (file + ": " + key + "[" + Twine(index) + "]").str();
    auto parsed = parseOverride(entry, where, key == "edges");
    if (!parsed)
      return parsed.takeError();
    overrides.push_back(std::move(*parsed));
  }
  return llvm::Error::success();
}

llvm::Expected<Recipe> qtx::parseRecipeFile(StringRef contents,
                                            StringRef name) {
  auto parsed = llvm::json::parse(contents);
  if (!parsed)
    return llvm::createStringError(name + ": " +
                                   llvm::toString(parsed.takeError()));
  const llvm::json::Object *root = parsed->getAsObject();
  if (!root)
    return llvm::createStringError(name + ": expected an object");
  for (const auto &entry : *root)
    if (!llvm::is_contained({"base", "observer", "order", "edges", "layers"},
                            StringRef(entry.first)))
      return llvm::createStringError(
          name + ": unknown key '" + StringRef(entry.first) +
          "', expected base, observer, order, edges, layers");
  std::optional<StringRef> base = root->getString("base");
  if (!base)
    return llvm::createStringError(
        name + ": expected the name of a recipe for 'base'");
  auto recipe = parseName(*base);
  if (!recipe)
    return llvm::createStringError(name + ": " +
                                   llvm::toString(recipe.takeError()));
  recipe->name = name.str();
  if (const llvm::json::Value *observer = root->get("observer")) {
    auto options = parseObserver(observer->getAsString().value_or(""));
    if (!options)
      return llvm::createStringError(
          name + ": observer: " + llvm::toString(options.takeError()));
    recipe->observer = *options;
  }
  if (const llvm::json::Value *order = root->get("order")) {
    StringRef scope = order->getAsString().value_or("");
    if (scope != "network" && scope != "layer")
      return llvm::createStringError(
          name + ": expected 'network' or 'layer' for 'order'");
    recipe->order = scope == "layer" ? OrderScope::Layer : OrderScope::Network;
  }
  if (llvm::Error error =
          parseOverrides(*root, "edges", name, recipe->edgeOverrides))
    return error;
  if (llvm::Error error =
          parseOverrides(*root, "layers", name, recipe->layerOverrides))
    return error;
  return recipe;
}

llvm::Expected<Recipe> qtx::parseRecipe(StringRef text) {
  if (!text.ends_with(".json"))
    return parseName(text);
  auto file = llvm::MemoryBuffer::getFile(text);
  if (!file)
    return llvm::createStringError(text + ": " + file.getError().message());
  return parseRecipeFile((*file)->getBuffer(), text);
}

//===----------------------------------------------------------------------===//
// Choices
//===----------------------------------------------------------------------===//

bool Recipe::needsRanges() const {
  return !isFloat() &&
         !(edge.isDynamic && edge.grouping == Grouping::PerTensor);
}

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

EdgeRecipe Recipe::getEdge(StringRef edgeName) const {
  EdgeRecipe result = edge;
  for (const Override &override : edgeOverrides) {
    if (!override.matches(edgeName))
      continue;
    replace(result.isQuantized, override.isQuantized);
    replace(result.isSymmetric, override.isSymmetric);
    replace(result.isScaled, override.isScaled);
    replace(result.margin, override.margin);
    if (!override.numGroups)
      continue;
    result.numGroups = *override.numGroups;
    if (result.numGroups == 1)
      result.grouping = Grouping::PerTensor;
    else if (result.grouping != Grouping::Equal)
      result.grouping = Grouping::Unequal;
  }
  return result;
}

WeightRecipe Recipe::getWeight(StringRef layerName) const {
  WeightRecipe result = weight;
  for (const Override &override : layerOverrides) {
    if (!override.matches(layerName))
      continue;
    replace(result.isQuantized, override.isQuantized);
    replace(result.isErrorMinimised, override.isErrorMinimised);
    replace(result.bits, override.bits);
    replace(result.block, override.block);
  }
  return result;
}
