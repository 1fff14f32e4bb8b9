//===- Report.h - What a compilation did to a model -------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Stages fill in what they know of edges (tensors between operations) and
// layers (operations with weights). It is written as JSON (docs/Report.md) or
// as one page of HTML that needs nothing else.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_ANALYSIS_REPORT_H
#define QTX_ANALYSIS_REPORT_H

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace qtx {

class OutputFiles;

/// Quantization parameters of a group of channels.
struct GroupReport {
  int64_t size = 0;
  double scale = 0;
  int64_t zeroPoint = 0;
};

/// A tensor between operations. The order of channels is that of the model, not
/// the one in which a recipe sorts them.
struct EdgeReport {
  std::string name;
  /// The operation that makes it.
  std::string op;
  /// Observed range of each channel; empty if not observed.
  std::vector<float> lo, hi;
  /// Element type that the edge has in the compiled model.
  std::string type = "f32";
  /// Groups in stored order; empty while the edge is float.
  std::vector<GroupReport> groups;
  /// The group of each channel; empty if there is one group.
  std::vector<int64_t> groupOfChannel;
  /// How its range was found, and the factor by which it was widened; empty
  /// where parameters are run-time values.
  std::string observer;
  std::optional<double> margin;
  /// Whether channels are quantized in a unit of their own, and from a point of
  /// their own.
  bool isScaled = false, isShifted = false;
  /// How scales of channels were chosen: `range` or `search`; empty if channels
  /// are not scaled.
  std::string scaling;
  /// Signal over quantization noise of this edge alone, in dB.
  std::optional<double> sqnr;
  /// Why the edge is float; empty if it is not, or if nobody knows.
  std::string reason;
};

/// An operation with weights, or a product of activations.
struct LayerReport {
  std::string name;
  std::string op;
  /// Of the weights; empty if there are none.
  std::vector<int64_t> shape;
  /// Element type of the weights, or else of the second factor, in the compiled
  /// model.
  std::string type = "f32";
  /// How the weights were rounded: `nearest`, `gptq`, ...; empty if float.
  std::string method;
  bool isBiasCorrected = false;
  /// Whether scales have the least squared error, not the largest weight.
  bool hasSearchedScales = false;
  /// |W - Wq| / |W| (Frobenius norms).
  std::optional<double> weightError;
  /// Signal over noise of the result against the float model, in dB: with all
  /// that went before.
  std::optional<double> outputSqnr;
  /// The micro-kernels, or the lowering, that run it.
  std::string kernel;
  /// Why that is the reference lowering; empty if it is not.
  std::string kernelReason;
  /// Why the layer is float; empty if it is not, or if nobody knows.
  std::string reason;
};

/// Why a pass left something as it was.
struct RemarkReport {
  std::string pass;
  /// The operation, by the name of its location.
  std::string name;
  std::string text;
};

struct StageReport {
  std::string name;
  double seconds = 0;
};

struct CalibrationReport {
  std::string data;
  std::string observer;
  uint64_t samples = 0;
  uint64_t positions = 0;
  uint64_t feeds = 0;
};

/// Ratios without noise count as this many dB.
inline constexpr double kMaxSqnr = 200;

/// 10 log10(signal / noise), bounded.
double getSqnr(double signal, double noise);

class Report {
public:
  std::string model;
  std::string recipe;
  std::optional<CalibrationReport> calibration;
  std::vector<StageReport> stages;
  std::vector<RemarkReport> remarks;
  /// Those of the remarks that say why an operation runs on no kernel.
  unsigned numReferenceRemarks = 0;
  /// Layers whose weights are too large for a faster micro-kernel.
  unsigned numLargeWeights = 0;

  /// The entry of that name; appended if there is none. References stay valid.
  EdgeReport &getEdge(llvm::StringRef name);
  LayerReport &getLayer(llvm::StringRef name);

  const std::deque<EdgeReport> &getEdges() const { return edges; }
  const std::deque<LayerReport> &getLayers() const { return layers; }

  /// Names that are not UTF-8 have their bytes replaced.
  void writeJSON(llvm::raw_ostream &stream, unsigned indent = 0) const;
  void writeHTML(llvm::raw_ostream &stream) const;
  /// A few lines: what was quantized, what was not and why, and the loss of
  /// each block where it was measured.
  void writeSummary(llvm::raw_ostream &stream) const;

private:
  std::deque<EdgeReport> edges;
  std::deque<LayerReport> layers;
  llvm::StringMap<size_t> edgeIndices, layerIndices;
};

/// The part of the model that a name belongs to: up to the first component that
/// is a number (`encoder.layer.3`), or nothing.
std::string getBlockName(llvm::StringRef name);

/// The channels whose range is wider than `kOutlierFactor` times the median.
std::vector<int64_t> findOutliers(const EdgeReport &edge);
inline constexpr double kOutlierFactor = 2.5;

/// Fails unless `path` ends in .json or .html.
llvm::Error checkReportPath(llvm::StringRef path);

/// Writes JSON or HTML, as the suffix of `path` (.json, .html) has it, to a
/// file among `files`.
llvm::Error writeReport(const Report &report, llvm::StringRef path,
                        OutputFiles &files);

} // namespace qtx

#endif // QTX_ANALYSIS_REPORT_H
