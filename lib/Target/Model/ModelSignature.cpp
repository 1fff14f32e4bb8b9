//===- ModelSignature.cpp - What an object says about itself --------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/BuiltinTypes.h"
#include "qtx/Support/JSON.h"
#include "qtx/Target/CompiledModel.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace qtx;
namespace json = llvm::json;

/// The number of the C interface that this code can call.
static constexpr int64_t kABIVersion = 1;

static bool readDim(const json::Value &value, DimSignature &dim,
                    json::Path path) {
  json::ObjectMapper map(value, path);
  std::optional<int64_t> minimum, maximum;
  if (!map || !map.map("name", dim.name) || !map.map("min", minimum) ||
      !map.map("max", maximum))
    return false;
  dim.minimum = minimum.value_or(dim.minimum);
  dim.maximum = maximum.value_or(dim.maximum);
  return true;
}

static bool readDims(const json::Value &value, std::vector<DimSignature> &dims,
                     json::Path path) {
  const json::Array *array = value.getAsArray();
  if (!array) {
    path.report("expected array");
    return false;
  }
  for (auto [i, element] : llvm::enumerate(*array))
    if (!readDim(element, dims.emplace_back(), path.index(i)))
      return false;
  return true;
}

/// Reads a size: a number, the name of a dim, or null for an expression of the
/// dims. `dim` becomes the index of the name in `dims`, or -1.
static bool readSize(const json::Value &value, ArrayRef<DimSignature> dims,
                     int64_t &size, int64_t &dim, json::Path path) {
  dim = -1;
  size = ShapedType::kDynamic;
  if (std::optional<int64_t> number = value.getAsInteger()) {
    size = *number;
    if (size >= 0)
      return true;
  } else if (std::optional<StringRef> name = value.getAsString()) {
    dim = llvm::find_if(dims, [&](auto &d) { return d.name == *name; }) -
          dims.begin();
    if (dim < int64_t(dims.size()))
      return true;
  } else if (value.kind() == json::Value::Null) {
    return true;
  }
  path.report("expected size, name of a dim or null");
  return false;
}

static bool readPort(const json::Value &value, ArrayRef<DimSignature> dims,
                     ValueSignature &port, std::vector<int64_t> &portDims,
                     json::Path path) {
  json::ObjectMapper map(value, path);
  std::string element;
  if (!map || !map.map("name", port.name) || !map.map("element", element))
    return false;
  std::optional<ElementKind> kind = parseElementName(element);
  if (!kind) {
    path.field("element").report("expected element type");
    return false;
  }
  port.element = *kind;
  port.isScalar = false;
  const json::Array *shape = value.getAsObject()->getArray("shape");
  if (!shape) {
    path.field("shape").report("expected array");
    return false;
  }
  for (auto [i, size] : llvm::enumerate(*shape))
    if (!readSize(size, dims, port.shape.emplace_back(),
                  portDims.emplace_back(), path.field("shape").index(i)))
      return false;
  return true;
}

static bool readPorts(const json::Value &value, ArrayRef<DimSignature> dims,
                      std::vector<ValueSignature> &ports,
                      std::vector<std::vector<int64_t>> &portDims,
                      json::Path path) {
  const json::Array *array = value.getAsArray();
  if (!array) {
    path.report("expected array");
    return false;
  }
  for (auto [i, element] : llvm::enumerate(*array))
    if (!readPort(element, dims, ports.emplace_back(), portDims.emplace_back(),
                  path.index(i)))
      return false;
  return true;
}

/// An input whose size is no dim would leave the call unknown.
static bool checkInputs(const ModelSignature &signature, json::Path path) {
  for (auto [input, dims] :
       llvm::zip_equal(signature.function.inputs, signature.inputDims))
    for (auto [size, dim] : llvm::zip_equal(input.shape, dims))
      if (ShapedType::isDynamic(size) && dim < 0) {
        path.report("expected input whose sizes are numbers or dims");
        return false;
      }
  return true;
}

static void readVersions(const json::Object &object,
                         std::vector<VersionSignature> &versions) {
  const json::Array *array = object.getArray("versions");
  if (!array)
    return;
  for (const json::Value &value : *array)
    if (const json::Object *version = value.getAsObject())
      versions.push_back({version->getString("name").value_or("").str(),
                          version->getString("features").value_or("").str()});
}

static bool readWeights(const json::Value &value, WeightsSignature &weights,
                        json::Path path) {
  json::ObjectMapper map(value, path);
  return map && map.map("file", weights.file) &&
         map.map("bytes", weights.bytes) && map.map("hash", weights.hash);
}

static bool readSignature(const json::Object &object, ModelSignature &signature,
                          json::Path path) {
  auto get = [&](StringRef key) -> const json::Value & {
    static const json::Value null = nullptr;
    const json::Value *value = object.get(key);
    return value ? *value : null;
  };
  std::vector<std::vector<int64_t>> outputDims;
  if (!json::fromJSON(get("name"), signature.function.name,
                      path.field("name")) ||
      !readDims(get("dims"), signature.dims, path.field("dims")) ||
      !readPorts(get("inputs"), signature.dims, signature.function.inputs,
                 signature.inputDims, path.field("inputs")) ||
      !readPorts(get("outputs"), signature.dims, signature.function.outputs,
                 outputDims, path.field("outputs")) ||
      !checkInputs(signature, path.field("inputs")))
    return false;
  signature.threads = object.getInteger("threads").value_or(1);
  const json::Value &weights = get("weights");
  if (weights.kind() != json::Value::Null &&
      !readWeights(weights, signature.weights.emplace(), path.field("weights")))
    return false;
  if (const json::Object *target = object.getObject("target")) {
    signature.triple = target->getString("triple").value_or("").str();
    signature.cpu = target->getString("cpu").value_or("").str();
    signature.features = target->getString("features").value_or("").str();
  }
  readVersions(object, signature.versions);
  return true;
}

llvm::Expected<ModelSignature> qtx::parseModelSignature(StringRef text) {
  llvm::Expected<json::Value> value = parseJSON(text);
  if (!value)
    return llvm::createStringError("signature: " +
                                   llvm::toString(value.takeError()));
  const json::Object *object = value->getAsObject();
  std::optional<int64_t> version;
  if (object)
    version = object->getInteger("qtx_abi");
  if (!version)
    return llvm::createStringError("signature: expected an object with "
                                   "'qtx_abi'");
  if (*version != kABIVersion)
    return llvm::createStringError(
        "expected an object with version " + Twine(kABIVersion) +
        " of the C interface, found " + Twine(*version));
  ModelSignature signature;
  signature.text = text.str();
  json::Path::Root root("signature");
  if (!readSignature(*object, signature, root))
    return root.getError();
  return signature;
}
