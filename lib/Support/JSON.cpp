//===- JSON.cpp - JSON that others wrote ----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/JSON.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

/// LLVM's parser takes stack for each level; what qtx reads has a handful.
static constexpr unsigned kMaxLevels = 64;

/// The first bracket of a level too many, or the end.
static size_t findDeepBracket(StringRef text) {
  unsigned level = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString && c == '\\')
      ++i;
    else if (c == '"')
      inString = !inString;
    else if (!inString && (c == '[' || c == '{') && ++level > kMaxLevels)
      return i;
    else if (!inString && (c == ']' || c == '}') && level > 0)
      --level;
  }
  return text.size();
}

/// `[1:28, byte=28]: Invalid JSON value` as other errors have it.
static std::string describe(Error error) {
  std::string text = toString(std::move(error));
  auto [place, problem] = StringRef(text).split("]: ");
  if (problem.empty() || !place.consume_front("["))
    return text;
  std::string line = (place.split(',').first + ": " + problem).str();
  // Abbreviations keep their capitals.
  char &first = line[line.size() - problem.size()];
  if (problem.size() > 1 && isLower(problem[1]))
    first = toLower(first);
  return line;
}

Expected<json::Value> qtx::parseJSON(StringRef text) {
  // What some editors put in front of UTF-8.
  text.consume_front("\xef\xbb\xbf");
  StringRef before = text.take_front(findDeepBracket(text));
  if (before.size() < text.size())
    return createStringError(Twine(before.count('\n') + 1) + ":" +
                             Twine(before.size() - (before.rfind('\n') + 1)) +
                             ": expected at most " + Twine(kMaxLevels) +
                             " levels of brackets");
  auto value = json::parse(text);
  if (!value)
    return createStringError(describe(value.takeError()));
  return value;
}
