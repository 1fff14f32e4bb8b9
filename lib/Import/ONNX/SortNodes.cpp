//===- SortNodes.cpp - Topological order of ONNX nodes --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GraphImporter.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace qtx::importer;

static void collectReads(const proto::NodeProto &node,
                         SmallVectorImpl<StringRef> &names);

/// Names that a graph reads from around it.
static void collectReads(const proto::GraphProto &graph,
                         SmallVectorImpl<StringRef> &names) {
  SmallVector<StringRef> reads;
  llvm::StringSet<> inner;
  for (const proto::NodeProto &node : graph.node()) {
    collectReads(node, reads);
    for (const std::string &name : node.output())
      inner.insert(name);
  }
  for (const proto::ValueInfoProto &output : graph.output())
    reads.push_back(output.name());
  llvm::copy_if(reads, std::back_inserter(names),
                [&](StringRef name) { return !inner.contains(name); });
}

/// Names that a node reads, also from inside of its graphs.
static void collectReads(const proto::NodeProto &node,
                         SmallVectorImpl<StringRef> &names) {
  for (const std::string &name : node.input())
    if (!name.empty())
      names.push_back(name);
  for (const proto::AttributeProto &attribute : node.attribute()) {
    if (attribute.has_g())
      collectReads(attribute.g(), names);
    for (const proto::GraphProto &graph : attribute.graphs())
      collectReads(graph, names);
  }
}

namespace {
/// A depth-first search from outputs to inputs.
class Sorter {
public:
  Sorter(const GraphImporter::NodeList &nodes, Location loc)
      : nodes(nodes), loc(loc), states(nodes.size(), State::Unvisited) {}

  LogicalResult addProducers(function_ref<bool(StringRef)> isDefined);
  LogicalResult visit(StringRef output);

  SmallVector<const proto::NodeProto *> sorted;

private:
  enum class State : char { Unvisited, Open, Done };
  struct Frame {
    unsigned node;
    SmallVector<StringRef> reads;
    size_t next = 0;
  };

  LogicalResult open(StringRef name);

  const GraphImporter::NodeList &nodes;
  Location loc;
  std::vector<State> states;
  llvm::StringMap<unsigned> producers;
  std::vector<Frame> stack;
};
} // namespace

LogicalResult Sorter::addProducers(function_ref<bool(StringRef)> isDefined) {
  for (auto [index, node] : llvm::enumerate(nodes))
    for (const std::string &name : node.output()) {
      if (name.empty())
        continue;
      if (isDefined(name) || !producers.try_emplace(name, index).second)
        return emitError(loc)
               << "expected distinct names, found '" << name << "' twice";
    }
  return success();
}

/// Starts with the node that computes `name`, if it has not been visited.
LogicalResult Sorter::open(StringRef name) {
  auto producer = producers.find(name);
  if (producer == producers.end())
    return success();
  unsigned index = producer->second;
  if (states[index] == State::Done)
    return success();
  if (states[index] == State::Open)
    return emitError(loc) << "expected a graph without cycles, found that '"
                          << name << "' depends on itself";
  states[index] = State::Open;
  Frame frame{index, {}, 0};
  collectReads(nodes[index], frame.reads);
  stack.push_back(std::move(frame));
  return success();
}

LogicalResult Sorter::visit(StringRef output) {
  if (failed(open(output)))
    return failure();
  while (!stack.empty()) {
    Frame &frame = stack.back();
    if (frame.next < frame.reads.size()) {
      if (failed(open(frame.reads[frame.next++])))
        return failure();
      continue;
    }
    states[frame.node] = State::Done;
    sorted.push_back(&nodes[frame.node]);
    stack.pop_back();
  }
  return success();
}

FailureOr<SmallVector<const proto::NodeProto *>>
qtx::importer::sortNodes(const GraphImporter::NodeList &nodes,
                         ArrayRef<StringRef> outputs, Location loc,
                         function_ref<bool(StringRef)> isDefined) {
  Sorter sorter(nodes, loc);
  if (failed(sorter.addProducers(isDefined)))
    return failure();
  for (StringRef output : outputs)
    if (failed(sorter.visit(output)))
      return failure();
  return std::move(sorter.sorted);
}
