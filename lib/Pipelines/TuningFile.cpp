//===- TuningFile.cpp - What tuning has found -----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TuningFile.h"
#include "qtx/Support/JSON.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace qtx;
using llvm::StringRef;
using llvm::Twine;

/// The name and number of the format; the number changes with what kernels make
/// of a configuration, so that old times do not count.
static constexpr llvm::StringLiteral kFormat = "qtx-tuning";
static constexpr int64_t kVersion = 2;

static llvm::Error makeError(StringRef path, const Twine &text) {
  return llvm::createStringError("'" + path + "': " + text);
}

namespace qtx {
// Found by the maps of `llvm::json`.
static llvm::json::Value toJSON(const TunedEntry &entry) {
  return llvm::json::Object{{"kernel", entry.kernel},
                            {"rows", entry.rows},
                            {"vectors", entry.vectors},
                            {"block", entry.block},
                            {"panels", entry.panels},
                            {"row_split", entry.rowSplit},
                            {"microseconds", entry.microseconds},
                            {"model_microseconds", entry.modelMicroseconds}};
}

static bool fromJSON(const llvm::json::Value &value, TunedEntry &entry,
                     llvm::json::Path path) {
  llvm::json::ObjectMapper map(value, path);
  return map && map.map("kernel", entry.kernel) &&
         map.map("rows", entry.rows) && map.map("vectors", entry.vectors) &&
         map.map("block", entry.block) && map.map("panels", entry.panels) &&
         map.map("row_split", entry.rowSplit) &&
         map.map("microseconds", entry.microseconds) &&
         map.map("model_microseconds", entry.modelMicroseconds);
}
} // namespace qtx

/// The part of the document with the entries; fails if it is none of qtx.
static llvm::Expected<const llvm::json::Value *>
findTargets(const llvm::json::Value &document, StringRef path) {
  const llvm::json::Object *object = document.getAsObject();
  if (!object || object->getString("format") != kFormat ||
      !object->getInteger("version") || !object->get("targets"))
    return makeError(path, "expected a file that --tune has written");
  int64_t version = *object->getInteger("version");
  if (version != kVersion)
    return makeError(path, "expected version " + Twine(kVersion) +
                               " of the format, found " + Twine(version));
  return object->get("targets");
}

static llvm::json::Object writeTargets(
    const std::map<std::string, std::map<std::string, TunedEntry>> &targets) {
  llvm::json::Object result;
  for (const auto &[target, entries] : targets) {
    llvm::json::Object object;
    for (const auto &[contraction, entry] : entries)
      object[contraction] = toJSON(entry);
    result[target] = std::move(object);
  }
  return result;
}

llvm::Expected<TuningFile> TuningFile::read(StringRef path) {
  TuningFile file;
  auto content = llvm::MemoryBuffer::getFile(path);
  if (content.getError() == std::errc::no_such_file_or_directory)
    return file;
  if (std::error_code code = content.getError())
    return makeError(path, code.message());
  auto document = parseJSON((*content)->getBuffer());
  if (!document)
    return makeError(path,
                     "expected JSON: " + llvm::toString(document.takeError()));
  auto targets = findTargets(*document, path);
  if (!targets)
    return targets.takeError();
  llvm::json::Path::Root root("targets");
  if (!llvm::json::fromJSON(**targets, file.targets, root))
    return makeError(path, llvm::toString(root.getError()));
  return file;
}

const TunedEntry *TuningFile::lookup(StringRef target,
                                     StringRef contraction) const {
  auto entries = targets.find(target.str());
  if (entries == targets.end())
    return nullptr;
  auto entry = entries->second.find(contraction.str());
  return entry == entries->second.end() ? nullptr : &entry->second;
}

void TuningFile::add(StringRef target, StringRef contraction,
                     TunedEntry entry) {
  targets[target.str()][contraction.str()] = std::move(entry);
}

llvm::Error TuningFile::mergeInto(StringRef path) const {
  auto file = read(path);
  if (!file)
    return file.takeError();
  for (const auto &[target, entries] : targets)
    for (const auto &[contraction, entry] : entries)
      file->add(target, contraction, entry);
  StringRef folder = llvm::sys::path::parent_path(path);
  if (std::error_code code = folder.empty()
                                 ? std::error_code()
                                 : llvm::sys::fs::create_directories(folder))
    return makeError(folder, code.message());
  llvm::json::Object document{{"format", kFormat},
                              {"version", kVersion},
                              {"targets", writeTargets(file->targets)}};
  // Written to a temporary name, and renamed.
  return llvm::writeToOutput(path, [&](llvm::raw_ostream &stream) {
    stream << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(document)));
    return llvm::Error::success();
  });
}
