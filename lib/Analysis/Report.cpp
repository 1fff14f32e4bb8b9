//===- Report.cpp - What a compilation did to a model ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Report.h"
#include "qtx/Support/OutputFiles.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace qtx;

double qtx::getSqnr(double signal, double noise) {
  if (!(noise > 0))
    return kMaxSqnr;
  if (!(signal > 0))
    return -kMaxSqnr;
  return std::clamp(10 * std::log10(signal / noise), -kMaxSqnr, kMaxSqnr);
}

/// The entry `name` of `entries`, appended if `indices` does not know it.
template <typename T>
static T &getEntry(std::deque<T> &entries, StringMap<size_t> &indices,
                   StringRef name) {
  auto [found, isNew] = indices.try_emplace(name, entries.size());
  if (isNew)
    entries.emplace_back().name = name.str();
  return entries[found->second];
}

EdgeReport &Report::getEdge(StringRef name) {
  return getEntry(edges, edgeIndices, name);
}

LayerReport &Report::getLayer(StringRef name) {
  return getEntry(layers, layerIndices, name);
}

std::string qtx::getBlockName(StringRef name) {
  for (size_t at = 0; at < name.size();) {
    size_t end = std::min(name.find_first_of("./", at), name.size());
    StringRef part = name.slice(at, end);
    if (at > 0 && !part.empty() && all_of(part, isDigit))
      return name.take_front(end).ltrim('/').str();
    at = end + 1;
  }
  return "";
}

std::vector<int64_t> qtx::findOutliers(const EdgeReport &edge) {
  std::vector<float> widths;
  for (auto [lo, hi] : zip_equal(edge.lo, edge.hi))
    widths.push_back(hi - lo);
  if (widths.empty())
    return {};
  std::vector<float> sorted = widths;
  auto middle = sorted.begin() + sorted.size() / 2;
  std::nth_element(sorted.begin(), middle, sorted.end());
  std::vector<int64_t> outliers;
  for (auto [channel, width] : enumerate(widths))
    if (width > kOutlierFactor * *middle)
      outliers.push_back(channel);
  return outliers;
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

namespace {
/// Writes objects of JSON; lists of numbers take one line.
class Writer {
public:
  Writer(raw_ostream &stream, unsigned indent) : json(stream, indent) {}

  void write(const Report &report);

private:
  void writeTotals(const Report &report);
  void writeEdge(const EdgeReport &edge);
  void writeLayer(const LayerReport &layer);
  void writeRemark(const RemarkReport &remark);

  template <typename T>
  void addIfKnown(StringRef key, const std::optional<T> &value) {
    if (value)
      addNumber(key, *value);
  }
  void addIfKnown(StringRef key, StringRef text) {
    if (!text.empty())
      addText(key, text);
  }
  void addIfTrue(StringRef key, bool value) {
    if (value)
      json.attribute(key, true);
  }
  void addText(StringRef key, StringRef text) {
    if (json::isUTF8(text))
      json.attribute(key, text);
    else
      json.attribute(key, json::fixUTF8(text));
  }
  void addNumber(StringRef key, double number) {
    json.attributeBegin(key);
    json.rawValue([&](raw_ostream &stream) { print(stream, number); });
    json.attributeEnd();
  }
  template <typename T> void addList(StringRef key, const T &numbers) {
    json.attributeBegin(key);
    json.rawValue([&](raw_ostream &stream) {
      stream << "[";
      interleaveComma(numbers, stream,
                      [&](auto number) { print(stream, number); });
      stream << "]";
    });
    json.attributeEnd();
  }
  /// Digits that tell all fp32 numbers apart.
  static void print(raw_ostream &stream, double number) {
    stream << format("%.9g", number);
  }
  static void print(raw_ostream &stream, int64_t number) { stream << number; }

  json::OStream json;
};
} // namespace

void Writer::writeEdge(const EdgeReport &edge) {
  addText("name", edge.name);
  addText("block", getBlockName(edge.name));
  addText("op", edge.op);
  addText("type", edge.type);
  if (!edge.lo.empty()) {
    addList("lo", edge.lo);
    addList("hi", edge.hi);
    addList("outliers", findOutliers(edge));
  }
  if (!edge.groups.empty())
    json.attributeArray("groups", [&] {
      for (const GroupReport &group : edge.groups)
        json.object([&] {
          json.attribute("size", group.size);
          addNumber("scale", group.scale);
          json.attribute("zero_point", group.zeroPoint);
        });
    });
  if (!edge.groupOfChannel.empty())
    addList("group_of_channel", edge.groupOfChannel);
  addIfKnown("observer", edge.observer);
  addIfKnown("margin", edge.margin);
  addIfTrue("scaled", edge.isScaled);
  addIfTrue("shifted", edge.isShifted);
  addIfKnown("scaling", edge.scaling);
  addIfKnown("sqnr_db", edge.sqnr);
  addIfKnown("reason", edge.reason);
}

void Writer::writeLayer(const LayerReport &layer) {
  addText("name", layer.name);
  addText("block", getBlockName(layer.name));
  addText("op", layer.op);
  addList("shape", layer.shape);
  addText("type", layer.type);
  addIfKnown("method", layer.method);
  addIfTrue("bias_corrected", layer.isBiasCorrected);
  addIfTrue("scale_search", layer.hasSearchedScales);
  addIfKnown("weight_error", layer.weightError);
  addIfKnown("output_sqnr_db", layer.outputSqnr);
  addIfKnown("kernel", layer.kernel);
  addIfKnown("kernel_reason", layer.kernelReason);
  addIfKnown("reason", layer.reason);
}

void Writer::writeRemark(const RemarkReport &remark) {
  addText("pass", remark.pass);
  addText("name", remark.name);
  addText("text", remark.text);
}

void Writer::writeTotals(const Report &report) {
  auto isQuantized = [](const auto &entry) { return entry.type != "f32"; };
  std::optional<double> worst;
  for (const EdgeReport &edge : report.getEdges())
    if (edge.sqnr && (!worst || *edge.sqnr < *worst))
      worst = edge.sqnr;
  double seconds = 0;
  for (const StageReport &stage : report.stages)
    seconds += stage.seconds;
  json.attribute("edges", int64_t(report.getEdges().size()));
  json.attribute("quantized_edges",
                 int64_t(count_if(report.getEdges(), isQuantized)));
  json.attribute("layers", int64_t(report.getLayers().size()));
  json.attribute("quantized_layers",
                 int64_t(count_if(report.getLayers(), isQuantized)));
  json.attribute("reference_operations", int64_t(report.numReferenceRemarks));
  addIfKnown("worst_sqnr_db", worst);
  addNumber("seconds", seconds);
}

void Writer::write(const Report &report) {
  json.object([&] {
    json.attribute("version", 1);
    addText("model", report.model);
    addText("recipe", report.recipe);
    if (report.calibration)
      json.attributeObject("calibration", [&] {
        addText("data", report.calibration->data);
        addText("observer", report.calibration->observer);
        json.attribute("samples", report.calibration->samples);
        json.attribute("positions", report.calibration->positions);
        json.attribute("feeds", report.calibration->feeds);
      });
    json.attributeArray("stages", [&] {
      for (const StageReport &stage : report.stages)
        json.object([&] {
          addText("name", stage.name);
          addNumber("seconds", stage.seconds);
        });
    });
    json.attributeObject("totals", [&] { writeTotals(report); });
    json.attributeArray("edges", [&] {
      for (const EdgeReport &edge : report.getEdges())
        json.object([&] { writeEdge(edge); });
    });
    json.attributeArray("layers", [&] {
      for (const LayerReport &layer : report.getLayers())
        json.object([&] { writeLayer(layer); });
    });
    json.attributeArray("remarks", [&] {
      for (const RemarkReport &remark : report.remarks)
        json.object([&] { writeRemark(remark); });
    });
  });
}

void Report::writeJSON(raw_ostream &stream, unsigned indent) const {
  Writer(stream, indent).write(*this);
}

//===----------------------------------------------------------------------===//
// HTML
//===----------------------------------------------------------------------===//

/// The page, with a mark where the data belongs.
static constexpr StringLiteral kPage =
#include "ReportPage.inc"
    ;
static constexpr StringLiteral kDataMark = "REPORT_DATA";

void Report::writeHTML(raw_ostream &stream) const {
  auto [head, tail] = StringRef(kPage).split(kDataMark);
  std::string data;
  raw_string_ostream dataStream(data);
  writeJSON(dataStream);
  stream << head;
  // No text of the data may end the script.
  for (char c : data)
    if (c == '<')
      stream << "\\u003c";
    else
      stream << c;
  stream << tail;
}

//===----------------------------------------------------------------------===//
// Summary
//===----------------------------------------------------------------------===//

/// One line: how many of the entries are quantized, and why the others are not.
template <typename T>
static void writeCounts(raw_ostream &stream, StringRef what,
                        const std::deque<T> &entries) {
  size_t numQuantized = 0;
  MapVector<StringRef, size_t> reasons;
  for (const T &entry : entries)
    if (entry.type != "f32")
      ++numQuantized;
    else if (!entry.reason.empty())
      ++reasons[entry.reason];
  stream << what << ": " << numQuantized << " of " << entries.size()
         << " quantized";
  for (const auto &[reason, count] : reasons)
    stream << "; " << count << " float: " << reason;
  stream << "\n";
}

namespace {
/// The worst figures of the edges and layers of a block.
struct BlockNoise {
  std::optional<double> edge;
  std::optional<double> result;
};
} // namespace

static void keepWorst(std::optional<double> &worst,
                      const std::optional<double> &found) {
  if (found && (!worst || *found < *worst))
    worst = found;
}

static void writeDb(raw_ostream &stream, const std::optional<double> &value) {
  if (value)
    stream << format("%8.1f", *value);
  else
    stream << "       -";
}

void Report::writeSummary(raw_ostream &stream) const {
  writeCounts(stream, "edges", edges);
  writeCounts(stream, "layers", layers);
  MapVector<StringRef, BlockNoise> blocks;
  std::deque<std::string> names;
  auto getBlock = [&](StringRef name) -> BlockNoise & {
    return blocks[names.emplace_back(getBlockName(name))];
  };
  for (const EdgeReport &edge : edges)
    if (edge.sqnr)
      keepWorst(getBlock(edge.name).edge, edge.sqnr);
  for (const LayerReport &layer : layers)
    if (layer.outputSqnr)
      keepWorst(getBlock(layer.name).result, layer.outputSqnr);
  if (blocks.empty())
    return;
  stream << "signal over noise in dB, the worst of a block:\n"
         << "    edge  result\n";
  for (const auto &[block, noise] : blocks) {
    writeDb(stream, noise.edge);
    writeDb(stream, noise.result);
    stream << "  " << (block.empty() ? "(other)" : block) << "\n";
  }
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

Error qtx::checkReportPath(StringRef path) {
  if (path.ends_with(".html") || path.ends_with(".json"))
    return Error::success();
  return createStringError("expected a report that ends in .json or .html, "
                           "found '" +
                           path + "'");
}

Error qtx::writeReport(const Report &report, StringRef path,
                       OutputFiles &files) {
  if (Error error = checkReportPath(path))
    return error;
  return files.write(path, [&](raw_ostream &stream) {
    if (path.ends_with(".html"))
      report.writeHTML(stream);
    else
      report.writeJSON(stream, /*indent=*/2);
    stream << "\n";
    return Error::success();
  });
}
