//===- RecipeFile.cpp - Recipes in files ----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Quantize/Recipe.h"
#include "qtx/Support/JSON.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/GlobPattern.h"
#include "llvm/Support/raw_ostream.h"

using namespace qtx;
using llvm::StringRef;
using llvm::Twine;

static constexpr double kMinMargin = 0.1, kMaxMargin = 10;

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

  void readNumber(StringRef key, double smallest, double largest,
                  std::optional<double> &target) {
    std::string expected;
    llvm::raw_string_ostream(expected)
        << "a number from " << llvm::format("%g", smallest) << " to "
        << llvm::format("%g", largest);
    read<double>(key, expected, target, [&](const llvm::json::Value &value) {
      std::optional<double> number = value.getAsNumber();
      if (number && !(*number >= smallest && *number <= largest))
        number.reset();
      return number;
    });
  }

  /// One of several words.
  template <typename T>
  void readChoice(StringRef key,
                  llvm::ArrayRef<std::pair<StringRef, T>> choices,
                  std::optional<T> &target) {
    std::string expected =
        llvm::join(llvm::map_range(choices,
                                   [](auto choice) {
                                     return ("'" + choice.first + "'").str();
                                   }),
                   ", ");
    read<T>(key, "one of " + expected, target,
            [&](const llvm::json::Value &value) -> std::optional<T> {
              StringRef text = value.getAsString().value_or("");
              for (auto [word, meaning] : choices)
                if (word == text)
                  return meaning;
              return std::nullopt;
            });
  }

  void readObserver(StringRef key, std::optional<ObserverOptions> &target) {
    known.push_back(key.str());
    const llvm::json::Value *value = object.get(key);
    if (!value)
      return;
    auto options = parseObserver(value->getAsString().value_or(""));
    if (options)
      target = *options;
    else
      fail(key + ": " + llvm::toString(options.takeError()));
  }

  /// A key that is read elsewhere.
  void allow(StringRef key) { known.push_back(key.str()); }

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

/// What an edge says about its groups, beside `base`.
static void readGroups(ObjectReader &reader, const Recipe &base,
                       Recipe::Override &result) {
  reader.readInteger("groups", 1, kMaxRecipeGroups, result.numGroups);
  reader.readChoice<Grouping>("grouping",
                              {{"per_tensor", Grouping::PerTensor},
                               {"outliers", Grouping::Outliers},
                               {"equal", Grouping::Equal},
                               {"optimal", Grouping::Unequal}},
                              result.grouping);
  reader.readChoice<GroupForm>("form",
                               {{"grouped", GroupForm::Grouped},
                                {"folded", GroupForm::Folded},
                                {"auto", GroupForm::Cheaper}},
                               result.form);
  if (result.form && base.edge.isDynamic)
    reader.fail("expected a base with static ranges for 'form'");
  if (!result.grouping)
    return;
  bool takesNumber = *result.grouping == Grouping::Equal ||
                     *result.grouping == Grouping::Unequal;
  if (!takesNumber && result.numGroups)
    reader.fail("expected no 'groups' for this 'grouping'");
  if (takesNumber && !result.numGroups && base.edge.numGroups == 1)
    reader.fail("expected 'groups' for this 'grouping'");
}

static llvm::Expected<Recipe::Override>
parseOverride(const llvm::json::Value &value, StringRef where,
              const Recipe &base, bool isEdge) {
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
    reader.readBool("search", result.isSearched);
    readGroups(reader, base, result);
    reader.readNumber("margin", kMinMargin, kMaxMargin, result.margin);
    reader.readObserver("observer", result.observer);
  } else {
    reader.readBool("gptq", result.isErrorMinimised);
    reader.readBool("short_sums", result.hasShortSums);
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
                                  StringRef file, const Recipe &base,
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
    auto parsed = parseOverride(entry, where, base, key == "edges");
    if (!parsed)
      return parsed.takeError();
    overrides.push_back(std::move(*parsed));
  }
  return llvm::Error::success();
}

/// What a file changes for the whole model.
static llvm::Error parseChanges(const llvm::json::Object &root, StringRef name,
                                Recipe &recipe) {
  ObjectReader reader(root, name);
  for (StringRef key : {"base", "edges", "layers"})
    reader.allow(key);
  std::optional<ObserverOptions> observer;
  reader.readObserver("observer", observer);
  recipe.observer = observer.value_or(recipe.observer);
  std::optional<OrderScope> order;
  reader.readChoice<OrderScope>(
      "order", {{"network", OrderScope::Network}, {"layer", OrderScope::Layer}},
      order);
  recipe.order = order.value_or(recipe.order);
  std::optional<double> margin;
  reader.readNumber("margin", kMinMargin, kMaxMargin, margin);
  recipe.edge.margin = margin.value_or(recipe.edge.margin);
  for (auto [key, target] : {std::pair<StringRef, bool *>{
                                 "bias_correction", &recipe.hasBiasCorrection},
                             {"centre_keys", &recipe.centresKeys},
                             {"equalise_values", &recipe.equalisesValues}}) {
    std::optional<bool> value;
    reader.readBool(key, value);
    *target = value.value_or(*target);
  }
  return reader.finish();
}

llvm::Expected<Recipe> qtx::parseRecipeFile(StringRef contents,
                                            StringRef name) {
  auto parsed = parseJSON(contents);
  if (!parsed)
    return llvm::createStringError(name + ":" +
                                   llvm::toString(parsed.takeError()));
  const llvm::json::Object *root = parsed->getAsObject();
  if (!root)
    return llvm::createStringError(name + ": expected an object");
  std::optional<StringRef> base = root->getString("base");
  if (!base)
    return llvm::createStringError(
        name + ": expected the name of a recipe for 'base'");
  auto recipe = parseRecipeName(*base);
  if (!recipe)
    return llvm::createStringError(name + ": " +
                                   llvm::toString(recipe.takeError()));
  recipe->name = name.str();
  if (llvm::Error error = parseChanges(*root, name, *recipe))
    return error;
  if (llvm::Error error =
          parseOverrides(*root, "edges", name, *recipe, recipe->edgeOverrides))
    return error;
  if (llvm::Error error = parseOverrides(*root, "layers", name, *recipe,
                                         recipe->layerOverrides))
    return error;
  return recipe;
}
