//===- Header.cpp - What callers read about an object ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"
#include "qtx/Dialect/Qtx/IR/InputLimits.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Target/Object.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace qtx;

StringRef qtx::describeStatus(int32_t status) {
  switch (status) {
  case kStatusOk:
    return "ok";
  case kStatusNullPointer:
    return "null pointer";
  case kStatusSizeOutOfRange:
    return "size out of range";
  case kStatusWorkspaceTooSmall:
    return "workspace too small";
  case kStatusIndexOutOfRange:
    return "index out of range";
  case kStatusMissingCPUFeature:
    return "CPU feature missing";
  }
  return "unknown status";
}

std::string qtx::makeIdentifier(StringRef name) {
  std::string identifier;
  for (char c : name)
    identifier.push_back(llvm::isAlnum(c) ? c : '_');
  if (identifier.empty() || llvm::isDigit(identifier.front()))
    identifier.insert(0, "_");
  return identifier;
}

//===----------------------------------------------------------------------===//
// The interface
//===----------------------------------------------------------------------===//

static ObjectValue getValue(func::FuncOp entry, BlockArgument argument) {
  unsigned index = argument.getArgNumber();
  auto type = cast<MemRefType>(argument.getType());
  auto getString = [&](StringRef name) {
    return entry.getArgAttrOfType<StringAttr>(index, name).getValue().str();
  };
  ObjectValue value;
  value.name = getString(QtxDialect::kNameAttrName);
  value.element = getString(kElementAttr);
  value.shape = type.getShape().vec();
  for (StringRef dim : getDimNames(
           entry.getArgAttr(index, QtxDialect::kDimsAttrName), type.getRank()))
    value.dims.push_back(dim.str());
  return value;
}

llvm::Expected<ObjectInterface> qtx::getObjectInterface(ModuleOp module,
                                                        StringRef name) {
  func::FuncOp entry = findEntry(module);
  if (!entry)
    return llvm::createStringError("expected a function in entry form");
  ObjectInterface interface;
  interface.name = makeIdentifier(name);
  for (BlockArgument argument : getArguments(entry, kInputRole))
    interface.inputs.push_back(getValue(entry, argument));
  for (BlockArgument argument : getArguments(entry, kOutputRole))
    interface.outputs.push_back(getValue(entry, argument));
  for (BlockArgument argument : getArguments(entry, kDimRole))
    interface.dims.push_back(
        entry.getArgAttrOfType<StringAttr>(argument.getArgNumber(), kDimAttr)
            .str());
  auto limits = entry->getAttrOfType<DictionaryAttr>(kMaxSizesAttr);
  for (StringRef dim : interface.dims) {
    auto limit = limits ? limits.getAs<IntegerAttr>(dim) : IntegerAttr();
    interface.largest.push_back(limit ? std::min(limit.getInt(), kLargestDim)
                                      : kLargestDim);
  }
  return interface;
}

void qtx::removeEntryAttrs(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>()) {
    function->removeAttr(kMaxSizesAttr);
    for (unsigned i = 0, e = function.getNumArguments(); i < e; ++i)
      function.setArgAttrs(i, DictionaryAttr::get(module.getContext()));
  }
}

//===----------------------------------------------------------------------===//
// Signature
//===----------------------------------------------------------------------===//

static llvm::json::Value describeSize(int64_t size, StringRef dim) {
  if (!ShapedType::isDynamic(size))
    return size;
  return dim.empty() ? llvm::json::Value(nullptr) : llvm::json::Value(dim);
}

static llvm::json::Array describeValues(ArrayRef<ObjectValue> values) {
  llvm::json::Array array;
  for (const ObjectValue &value : values) {
    llvm::json::Array shape;
    for (auto [size, dim] : llvm::zip_equal(value.shape, value.dims))
      shape.push_back(describeSize(size, dim));
    array.push_back(llvm::json::Object{{"name", value.name},
                                       {"element", value.element},
                                       {"shape", std::move(shape)}});
  }
  return array;
}

static llvm::json::Value describeWeights(const ObjectInterface &interface) {
  if (!interface.weights)
    return nullptr;
  return llvm::json::Object{{"file", interface.weights->name},
                            {"bytes", int64_t(interface.weights->bytes)},
                            {"hash", interface.weights->hash}};
}

std::string qtx::makeSignature(const ObjectInterface &interface) {
  llvm::json::Array dims;
  for (auto [dim, largest] : llvm::zip_equal(interface.dims, interface.largest))
    dims.push_back(
        llvm::json::Object{{"name", dim}, {"min", 1}, {"max", largest}});
  llvm::json::Array versions;
  for (const CodeVersion &version : interface.versions)
    versions.push_back(llvm::json::Object{{"name", version.name},
                                          {"features", version.features}});
  llvm::json::Value signature = llvm::json::Object{
      {"qtx_abi", kObjectABIVersion},
      {"name", interface.name},
      {"dims", std::move(dims)},
      {"inputs", describeValues(interface.inputs)},
      {"outputs", describeValues(interface.outputs)},
      {"threads", interface.threads},
      {"target", llvm::json::Object{{"triple", interface.triple},
                                    {"cpu", interface.cpu},
                                    {"features", interface.features}}},
      {"versions", std::move(versions)},
      {"weights", describeWeights(interface)}};
  return llvm::formatv("{0}", signature).str();
}

//===----------------------------------------------------------------------===//
// Header
//===----------------------------------------------------------------------===//

/// The C type of the elements in a buffer.
static StringRef getCType(StringRef element) {
  return llvm::StringSwitch<StringRef>(element)
      .Case("f32", "float")
      .Case("f64", "double")
      .Cases({"i1", "u4", "u8"}, "uint8_t")
      .Cases({"i4", "i8"}, "int8_t")
      .Case("i16", "int16_t")
      .Cases({"f16", "u16"}, "uint16_t")
      .Case("i32", "int32_t")
      .Case("u32", "uint32_t")
      .Default("int64_t");
}

/// `text` for a comment, which nothing in it may end.
static std::string makeCommentText(StringRef text) {
  std::string comment;
  for (char c : text)
    comment.push_back(llvm::isPrint(c) && c != '*' && c != '\\' ? c : '_');
  return comment;
}

static std::string describeShape(const ObjectValue &value) {
  std::vector<std::string> sizes;
  for (auto [size, dim] : llvm::zip_equal(value.shape, value.dims))
    sizes.push_back(!ShapedType::isDynamic(size) ? std::to_string(size)
                    : dim.empty()                ? "?"
                                                 : makeCommentText(dim));
  return "[" + llvm::join(sizes, ", ") + "]";
}

/// Whether C, C++ or what the header includes may mean something by `name`.
static bool isReserved(StringRef name) {
  static const llvm::StringSet<> keywords = {
      // The other parameters.
      "weights", "dims", "workspace", "workspace_bytes",
      // C.
      "NULL", "auto", "break", "case", "char", "const", "constexpr", "continue",
      "default", "do", "double", "else", "enum", "extern", "false", "float",
      "for", "goto", "if", "inline", "int", "linux", "long", "nullptr",
      "register", "restrict", "return", "short", "signed", "sizeof", "static",
      "struct", "switch", "true", "typedef", "typeof", "typeof_unqual", "union",
      "unix", "unreachable", "unsigned", "void", "volatile", "while", "alignas",
      "alignof", "asm", "bool", "offsetof", "static_assert", "thread_local",
      // C++.
      "and", "and_eq", "bitand", "bitor", "catch", "char8_t", "class",
      "co_await", "co_return", "co_yield", "compl", "concept", "const_cast",
      "consteval", "constinit", "decltype", "delete", "dynamic_cast",
      "explicit", "export", "friend", "mutable", "namespace", "new", "noexcept",
      "not", "not_eq", "operator", "or", "or_eq", "private", "protected",
      "public", "reinterpret_cast", "requires", "static_cast", "template",
      "this", "throw", "try", "typeid", "typename", "using", "virtual", "xor",
      "xor_eq"};
  auto isUpper = [](char c) { return c >= 'A' && c <= 'Z'; };
  bool isOfImplementation =
      name.contains("__") ||
      (name.size() > 1 && name[0] == '_' && isUpper(name[1]));
  bool isOfStdint = name.ends_with("_t") || name.ends_with("_MAX") ||
                    name.ends_with("_MIN") || name.ends_with("_WIDTH") ||
                    name.ends_with("_C");
  return isOfImplementation || isOfStdint || keywords.contains(name);
}

/// Parameters are named after the values; those of one name get a number, and
/// `arg_` stands before those that have a meaning already.
static std::vector<std::string>
makeParameterNames(const ObjectInterface &interface) {
  std::vector<std::string> names;
  auto add = [&](const ObjectValue &value) {
    std::string name = makeIdentifier(value.name), unique = name;
    if (isReserved(name))
      name = unique = "arg_" + StringRef(name).ltrim('_').str();
    for (unsigned i = 2; llvm::is_contained(names, unique); ++i)
      unique = name + "_" + std::to_string(i);
    names.push_back(unique);
  };
  llvm::for_each(interface.inputs, add);
  llvm::for_each(interface.outputs, add);
  return names;
}

namespace {
class HeaderWriter {
public:
  explicit HeaderWriter(const ObjectInterface &interface)
      : interface(interface), names(makeParameterNames(interface)),
        stream(text) {}

  std::string write() {
    std::string guard = StringRef(interface.name).upper() + "_H";
    stream
        << "/* The model '" << interface.name
        << "', compiled by qtx. Link the object; it needs libc's memcpy,\n"
           " * memmove and memset, and "
        << (interface.threads > 1 ? "LLVM's OpenMP library" : "nothing else")
        << ". Functions may be called from several\n * threads at once.\n *\n";
    writeThreads();
    writeValues();
    writeVersions();
    stream << " */\n#ifndef " << guard << "\n#define " << guard
           << "\n\n#include <stddef.h>\n#include <stdint.h>\n\n#ifdef "
              "__cplusplus\nextern \"C\" {\n#endif\n\n";
    writeStatuses();
    writeFunctions();
    stream << "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n";
    return text;
  }

private:
  void writeThreads() {
    if (interface.threads == 1)
      return;
    std::string folder = "/usr/lib/llvm-" QTX_LLVM_MAJOR_STRING "/lib";
    stream
        << " * A call uses at most " << interface.threads
        << " threads; OMP_NUM_THREADS and omp_set_num_threads ask for\n"
           " * fewer. Results do not depend on their number. Link by one of\n"
           " *   clang main.c "
        << interface.name << ".o -fopenmp\n *   cc main.c " << interface.name
        << ".o -L" << folder << " -lomp -Wl,-rpath," << folder << "\n *\n";
  }

  void writeValues() {
    unsigned index = 0;
    for (const ObjectValue &value : interface.inputs)
      writeValue("input ", names[index++], value);
    for (const ObjectValue &value : interface.outputs)
      writeValue("output", names[index++], value);
    stream << " *\n * Buffers are dense, in row-major order.";
    if (interface.dims.empty())
      stream << " No size is dynamic: dims may be null.\n";
    else
      stream << " dims holds, in this order:\n";
    for (auto [i, dim] : llvm::enumerate(interface.dims))
      stream << " *   dims[" << i << "]: " << makeCommentText(dim) << ", 1 to "
             << interface.largest[i] << "\n";
    if (interface.weights)
      stream
          << " * weights is the content of '"
          << makeCommentText(interface.weights->name) << "', "
          << interface.weights->bytes
          << " bytes at an address that\n * is a multiple of 64, as mmap gives "
             "it; the XXH3 hash of 128 bits is\n * "
          << interface.weights->hash << ".\n";
  }

  void writeVersions() {
    stream << " *\n * Versions of the code, of which the last one that the CPU "
              "can "
              "run runs:\n";
    for (auto [i, version] : llvm::enumerate(interface.versions)) {
      stream << " *   " << i << ": " << version.name;
      SmallVector<StringRef> features;
      StringRef(version.features).split(features, ',', -1, false);
      for (auto [k, feature] : llvm::enumerate(features))
        stream << (k == 0       ? ", needs\n *        "
                   : k % 6 == 0 ? "\n *        "
                                : "")
               << " " << feature.drop_front();
      stream << "\n";
    }
  }

  void writeValue(StringRef kind, StringRef parameter,
                  const ObjectValue &value) {
    stream << " *   " << kind << " " << parameter << ": " << value.element
           << " " << describeShape(value) << "\n";
  }

  void writeStatuses() {
    stream << "/* What the functions return. */\nenum {\n";
    for (int32_t status = kStatusOk; status <= kStatusMissingCPUFeature;
         ++status) {
      std::string name = makeIdentifier(describeStatus(status));
      stream << "  " << interface.name << "_" << StringRef(name).lower()
             << " = " << status << ",\n";
    }
    stream << "};\n\n";
  }

  void writeFunctions() {
    stream << "/* Runs the model. workspace holds at least the bytes that "
           << interface.name
           << "_workspace_size\n * gives for dims, at any alignment; what it "
              "holds before and after means nothing.\n */\nint32_t "
           << interface.name << "_run(";
    unsigned index = 0;
    for (const ObjectValue &value : interface.inputs)
      stream << "const " << getCType(value.element) << " *" << names[index++]
             << ", ";
    for (const ObjectValue &value : interface.outputs)
      stream << getCType(value.element) << " *" << names[index++] << ", ";
    if (interface.weights)
      stream << "const void *weights, ";
    stream << "const int64_t *dims,\n    void *workspace, size_t "
              "workspace_bytes);\n\n"
           << "/* Writes the sizes of the output of that number, counted from "
              "0. */\nint32_t "
           << interface.name
           << "_output_shape(int32_t output, const int64_t *dims, int64_t "
              "*shape);\n\n"
           << "/* Writes the bytes of workspace that a run with dims needs. "
              "*/\nint32_t "
           << interface.name
           << "_workspace_size(const int64_t *dims, int64_t *bytes);\n\n"
           << "/* The version of the code that runs on this CPU; -1 if none "
              "does. */\nint32_t "
           << interface.name << "_code_version(void);\n\n"
           << "/* This interface as JSON, and its version. */\nextern const "
              "char "
           << interface.name << "_signature[];\nextern const int32_t "
           << interface.name << "_abi_version;\n";
  }

  const ObjectInterface &interface;
  std::vector<std::string> names;
  std::string text;
  llvm::raw_string_ostream stream;
};
} // namespace

std::string qtx::makeHeader(const ObjectInterface &interface) {
  return HeaderWriter(interface).write();
}
