//===- GraphImporter.cpp - From an ONNX graph to a function ---------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GraphImporter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::importer;

/// A model with more nodes than this, functions expanded, is a mistake.
static constexpr int64_t kMaxNodes = 1000000;

/// More elements of one input are a mistake, and their bytes have to be counted
/// in 64 bits.
static constexpr unsigned kMaxElementBits = 56;

static constexpr int64_t kMinOpset = 13;
static constexpr int64_t kMaxOpset = 23;

GraphImporter::GraphImporter(const proto::ModelProto &model, Location loc,
                             const ImportOptions &options,
                             const DimNames &dimNames, ConstantCache &constants)
    : model(model), fileLoc(loc), options(options), dimNames(dimNames),
      constants(constants), context(loc.getContext()), builder(context),
      state(context) {
  state.createConstant = [this](ElementsAttr attr, Location loc) {
    return createConstant(attr, loc);
  };
  state.createNone = [this] { return createNone(); };
}

Location GraphImporter::getLoc(StringRef name) const {
  return name.empty() ? fileLoc
                      : NameLoc::get(StringAttr::get(context, name), fileLoc);
}

/// Nodes without a name go by what they compute.
Location GraphImporter::getLoc(const proto::NodeProto &proto) const {
  if (!proto.name().empty() || proto.output().empty())
    return getLoc(proto.name());
  return getLoc(proto.output(0));
}

//===----------------------------------------------------------------------===//
// The model
//===----------------------------------------------------------------------===//

/// ONNX's own domain has two names.
static StringRef normalizeDomain(StringRef domain) {
  return domain == "ai.onnx" ? "" : domain;
}

/// A field that the library's schema does not have.
static StringRef getUnknownString(const google::protobuf::Message &message,
                                  int number) {
  const auto &fields = message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < fields.field_count(); ++i) {
    const google::protobuf::UnknownField &field = fields.field(i);
    if (field.number() == number &&
        field.type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED)
      return field.length_delimited();
  }
  return "";
}

static std::string getFunctionKey(StringRef domain, StringRef name,
                                  StringRef overload) {
  return (normalizeDomain(domain) + "::" + name + "::" + overload).str();
}

LogicalResult GraphImporter::addFunctions() {
  // The number of FunctionProto.overload.
  constexpr int kOverload = 13;
  for (const proto::FunctionProto &function : model.functions()) {
    std::string key = getFunctionKey(function.domain(), function.name(),
                                     getUnknownString(function, kOverload));
    if (!functions.try_emplace(key, &function).second)
      return emitError(getLoc(function.name()))
             << "expected distinct functions, found '" << function.name()
             << "' twice";
  }
  return success();
}

const proto::FunctionProto *
GraphImporter::findFunction(const proto::NodeProto &proto) const {
  // The number of NodeProto.overload.
  constexpr int kOverload = 8;
  return functions.lookup(getFunctionKey(proto.domain(), proto.op_type(),
                                         getUnknownString(proto, kOverload)));
}

Size GraphImporter::getInputDim(const proto::TensorShapeProto::Dimension &dim,
                                StringRef input, unsigned axis) {
  if (dim.has_dim_value())
    return state.sizes.get(dim.dim_value());
  std::string name = dim.dim_param();
  if (name.empty())
    name = (input + "_dim_" + Twine(axis)).str();
  auto fixed = options.sizes.find(name);
  if (fixed != options.sizes.end())
    return state.sizes.get(fixed->second);
  for (auto found = dimNames.find(name); found != dimNames.end();
       found = dimNames.find(name))
    name = found->second;
  Size &size = symbols[name];
  if (!size) {
    // Nobody runs a model on nothing, and an export that slices off the first
    // element relies on it.
    size = state.sizes.addSymbol(/*atLeast=*/1);
    symbolNames.push_back(name);
    state.numInputSymbols = symbolNames.size();
  }
  return size;
}

/// Whether memory could not hold what a layer makes of the tensor.
static bool hasTooManyElements(RankedTensorType type) {
  int64_t count = 1;
  for (int64_t size : type.getShape())
    if (size > 0 && !ShapedType::isDynamic(size) &&
        (llvm::MulOverflow(count, size, count) ||
         count > int64_t(1) << kMaxElementBits))
      return true;
  return false;
}

FailureOr<RankedTensorType>
GraphImporter::getInputType(const proto::ValueInfoProto &input) {
  Location loc = getLoc(input.name());
  if (!input.type().has_tensor_type() ||
      !input.type().tensor_type().has_shape())
    return emitError(loc) << "expected a tensor with a shape as input '"
                          << input.name() << "'";
  const proto::TypeProto::Tensor &tensor = input.type().tensor_type();
  Type elementType = getElementType(tensor.elem_type(), context);
  if (!elementType)
    return emitError(loc) << "unsupported element type " << tensor.elem_type()
                          << " of input '" << input.name() << "'";
  Dims dims;
  for (auto [axis, dim] : llvm::enumerate(tensor.shape().dim())) {
    if (dim.has_dim_value() && dim.dim_value() < 0)
      return emitError(loc)
             << "expected sizes of at least 0, found " << dim.dim_value()
             << " in input '" << input.name() << "'";
    dims.push_back(getInputDim(dim, input.name(), axis));
  }
  auto type = qtx::onnx::getTensorType(dims, elementType);
  if (hasTooManyElements(type))
    return emitError(loc) << "expected at most 2^" << kMaxElementBits
                          << " elements of input '" << input.name() << "'";
  return type;
}

LogicalResult GraphImporter::addInputs(Scope &scope) {
  Block &block = function.getBody().front();
  SmallVector<DictionaryAttr> attrs;
  for (const proto::ValueInfoProto &input : model.graph().input()) {
    // Older files list initializers among the inputs.
    if (scope.initializers.contains(input.name()))
      continue;
    FailureOr<RankedTensorType> type = getInputType(input);
    if (failed(type))
      return failure();
    Value argument = block.addArgument(*type, getLoc(input.name()));
    if (!scope.values.try_emplace(input.name(), argument).second)
      return emitError(getLoc(input.name()))
             << "expected distinct names, found '" << input.name() << "' twice";
    attrs.push_back(getValueAttrs(input.name(), *type));
  }
  function.setType(
      builder.getFunctionType(block.getArgumentTypes(), TypeRange()));
  function.setAllArgAttrs(attrs);
  return success();
}

ArrayAttr GraphImporter::getDimNames(RankedTensorType type) {
  SmallVector<Attribute> names;
  for (Size size : qtx::onnx::getDims(type)) {
    auto symbol = dyn_cast<AffineSymbolExpr>(size);
    std::string text;
    llvm::raw_string_ostream os(text);
    if (symbol && symbol.getPosition() < symbolNames.size())
      os << symbolNames[symbol.getPosition()];
    else if (!getConstant(size))
      size.print(os);
    names.push_back(builder.getStringAttr(text));
  }
  return builder.getArrayAttr(names);
}

DictionaryAttr GraphImporter::getValueAttrs(StringRef name,
                                            RankedTensorType type) {
  return builder.getDictionaryAttr(
      {builder.getNamedAttr("qtx.name", builder.getStringAttr(name)),
       builder.getNamedAttr("qtx.dims", getDimNames(type))});
}

/// Callers rely on the element type that the file says. Its sizes are left
/// alone: exporters are known to write wrong ones.
LogicalResult GraphImporter::checkDeclared(const proto::ValueInfoProto &output,
                                           Value value) {
  Type declared =
      getElementType(output.type().tensor_type().elem_type(), context);
  Type found = cast<RankedTensorType>(value.getType()).getElementType();
  if (!declared || declared == found)
    return success();
  return emitError(getLoc(output.name()))
         << "expected elements of type " << declared << " as output '"
         << output.name() << "' is declared, found " << found;
}

LogicalResult GraphImporter::addOutputs(const Scope &scope) {
  SmallVector<Value> results;
  SmallVector<DictionaryAttr> attrs;
  for (const proto::ValueInfoProto &output : model.graph().output()) {
    FailureOr<Value> value =
        lookUp(output.name(), scope, getLoc(output.name()));
    if (failed(value))
      return failure();
    if (failed(checkDeclared(output, *value)))
      return failure();
    results.push_back(*value);
    attrs.push_back(
        getValueAttrs(output.name(), cast<RankedTensorType>(value->getType())));
  }
  func::ReturnOp::create(builder, fileLoc, results);
  function.setType(builder.getFunctionType(function.getArgumentTypes(),
                                           ValueRange(results).getTypes()));
  function.setAllResultAttrs(attrs);
  setMaxSizes();
  return success();
}

/// States the largest sizes that the tables of the model allow.
void GraphImporter::setMaxSizes() {
  std::map<std::string, int64_t> maxSizes;
  for (auto [position, limit] : state.limits)
    for (auto [symbol, name] : llvm::enumerate(symbolNames)) {
      std::optional<int64_t> offset = getConstant(
          state.sizes.sub(position, getAffineSymbolExpr(symbol, context)));
      if (!offset || *offset > limit)
        continue;
      auto [entry, isNew] = maxSizes.try_emplace(name, limit - *offset);
      entry->second = std::min(entry->second, limit - *offset);
    }
  NamedAttrList attrs;
  for (const auto &[name, size] : maxSizes)
    attrs.set(name, builder.getI64IntegerAttr(size));
  if (!attrs.empty())
    function->setAttr("qtx.max_sizes", attrs.getDictionary(context));
}

/// Fails if nodes behind unsupported ones are not known. Otherwise all
/// unsupported ones are part of the IR, and lowering lists them among its own.
LogicalResult GraphImporter::reportUnsupported() const {
  if (!isIncomplete)
    return success();
  InFlightDiagnostic diagnostic = unsupported.report(fileLoc);
  if (numBehind)
    diagnostic << "\nand " << numBehind
               << " nodes behind them were not looked at: the file does not "
                  "say what type their inputs have";
  return failure();
}

void GraphImporter::eraseUnused() {
  for (Operation &op :
       llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
    if (isOpTriviallyDead(&op))
      op.erase();
}

OwningOpRef<ModuleOp> GraphImporter::import() {
  OwningOpRef<ModuleOp> module = ModuleOp::create(fileLoc);
  builder.setInsertionPointToStart(module->getBody());
  function = func::FuncOp::create(builder, fileLoc, "main",
                                  builder.getFunctionType({}, {}));
  builder.setInsertionPointToStart(function.addEntryBlock());

  Scope scope;
  for (const proto::OperatorSetIdProto &opset : model.opset_import())
    scope.opsets[normalizeDomain(opset.domain())] = opset.version();
  auto found = scope.opsets.find("");
  if (found != scope.opsets.end() &&
      (found->second < kMinOpset || found->second > kMaxOpset)) {
    emitError(fileLoc) << "expected operator set " << kMinOpset << " to "
                       << kMaxOpset << ", found " << found->second;
    return {};
  }
  const proto::GraphProto &graph = model.graph();
  if (graph.output().empty()) {
    emitError(fileLoc) << "expected outputs of the model, found none";
    return {};
  }
  SmallVector<StringRef> outputs;
  for (const proto::ValueInfoProto &output : graph.output())
    outputs.push_back(output.name());
  if (failed(addFunctions()) || failed(addInitializers(graph, scope)) ||
      failed(addInputs(scope)))
    return {};
  if (failed(importNodes(graph.node(), scope, outputs))) {
    // The node that is wrong may be so because of what was assumed.
    if (!unsupported.empty())
      unsupported.report(fileLoc);
    return {};
  }
  if (failed(reportUnsupported()) || failed(addOutputs(scope)))
    return {};
  eraseUnused();
  return module;
}

DimNames GraphImporter::getEqualDims() const {
  DimNames result;
  for (auto [left, right] : state.equalSymbols) {
    auto find = [&](unsigned symbol) {
      std::string name = symbolNames[symbol];
      for (auto found = result.find(name); found != result.end();
           found = result.find(name))
        name = found->second;
      return name;
    };
    std::string kept = find(std::min(left, right));
    std::string dropped = find(std::max(left, right));
    if (kept != dropped)
      result[dropped] = kept;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

LogicalResult GraphImporter::addInitializers(const proto::GraphProto &graph,
                                             Scope &scope) {
  for (const proto::TensorProto &tensor : graph.initializer())
    if (!scope.initializers.try_emplace(tensor.name(), &tensor).second)
      return emitError(getLoc(tensor.name()))
             << "expected distinct names, found '" << tensor.name()
             << "' twice";
  for (const proto::SparseTensorProto &tensor : graph.sparse_initializer())
    return emitError(getLoc(tensor.values().name()))
           << "unsupported sparse initializer '" << tensor.values().name()
           << "'";
  for (const auto *values : {&graph.value_info(), &graph.output()})
    for (const proto::ValueInfoProto &value : *values)
      scope.declared[value.name()] = &value.type();
  return success();
}

/// The type that the file says a value of this graph has; null if it does not.
/// Sizes of another name than the inputs' have further symbols.
RankedTensorType GraphImporter::getDeclaredType(StringRef name,
                                                const Scope &scope) {
  const proto::TypeProto *type = scope.declared.lookup(name);
  if (!type || !type->has_tensor_type() || !type->tensor_type().has_shape())
    return {};
  Type elementType = getElementType(type->tensor_type().elem_type(), context);
  Dims dims;
  for (const auto &dim : type->tensor_type().shape().dim()) {
    Size known = symbols.lookup(dim.dim_param());
    if (dim.has_dim_value() && dim.dim_value() < 0)
      return {};
    if (dim.has_dim_value())
      known = state.sizes.get(dim.dim_value());
    dims.push_back(known ? known : state.sizes.addSymbol(/*atLeast=*/0));
  }
  return elementType ? qtx::onnx::getTensorType(dims, elementType)
                     : RankedTensorType();
}

LogicalResult GraphImporter::importNodes(const NodeList &nodes, Scope &scope,
                                         ArrayRef<StringRef> outputs) {
  auto isDefined = [&](StringRef name) {
    return scope.values.contains(name) || scope.initializers.contains(name);
  };
  FailureOr<SmallVector<const proto::NodeProto *>> sorted =
      sortNodes(nodes, outputs, fileLoc, isDefined);
  if (failed(sorted))
    return failure();
  for (const proto::NodeProto *node : *sorted)
    if (failed(importNode(*node, scope)))
      return failure();
  return success();
}

FailureOr<Value> GraphImporter::lookUp(StringRef name, const Scope &scope,
                                       Location loc) {
  for (const Scope *at = &scope; at; at = at->parent) {
    auto value = at->values.find(name);
    if (value != at->values.end())
      return value->second;
    auto initializer = at->initializers.find(name);
    if (initializer == at->initializers.end())
      continue;
    ElementsAttr &attr = constants.attrs[initializer->second];
    if (!attr)
      attr = constants.reader.read(*initializer->second, getLoc(name));
    if (!attr)
      return failure();
    Value constant = createConstant(attr, getLoc(name));
    const_cast<Scope *>(at)->values[name] = constant;
    return constant;
  }
  return emitError(loc) << "expected a value called '" << name
                        << "', found none";
}

Value GraphImporter::createConstant(ElementsAttr attr, Location loc) {
  OpBuilder::InsertionGuard guard(builder);
  if (lastConstant)
    builder.setInsertionPointAfter(lastConstant);
  else
    builder.setInsertionPointToStart(&function.getBody().front());
  auto constant =
      arith::ConstantOp::create(builder, loc, cast<TypedAttr>(attr));
  lastConstant = constant;
  return constant;
}

Value GraphImporter::createNone() {
  if (none)
    return none;
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(&function.getBody().front());
  none = qtx::onnx::NoneOp::create(builder, fileLoc, builder.getNoneType());
  if (!lastConstant)
    lastConstant = none.getDefiningOp();
  return none;
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

static std::string getOperatorKey(const proto::NodeProto &proto) {
  StringRef domain = normalizeDomain(proto.domain());
  return domain.empty() ? proto.op_type()
                        : (domain + "::" + proto.op_type()).str();
}

LogicalResult GraphImporter::setOutput(const proto::NodeProto &proto,
                                       unsigned index, Value value,
                                       Scope &scope) {
  const std::string &name = proto.output(index);
  if (!name.empty())
    scope.values[name] = value;
  return success();
}

/// The inputs of a node that arguments are or other nodes compute, as far as
/// these are known.
static SmallVector<Value> getComputedInputs(const proto::NodeProto &proto,
                                            const Scope &scope) {
  SmallVector<Value> inputs;
  for (const std::string &name : proto.input())
    for (const Scope *at = &scope; at; at = at->parent)
      if (Value value = at->values.lookup(name)) {
        inputs.push_back(value);
        break;
      }
  return inputs;
}

/// Notes that the node is not supported and goes on, to find all such nodes.
LogicalResult GraphImporter::skip(const proto::NodeProto &proto, Scope &scope,
                                  StringRef reason) {
  StringRef name = proto.name();
  if (name.empty() && !proto.output().empty())
    name = proto.output(0);
  StringRef domain = normalizeDomain(proto.domain());
  unsupported.add(proto.op_type(), domain, reason, name);
  SmallVector<Type> types;
  for (const std::string &output : proto.output())
    if (!output.empty())
      if (RankedTensorType type = getDeclaredType(output, scope))
        types.push_back(type);
  size_t numOutputs =
      llvm::count_if(proto.output(),
                     [](const std::string &output) { return !output.empty(); });
  if (types.size() != numOutputs)
    return leaveOut(proto, scope);
  auto getOptional = [&](StringRef text) {
    return text.empty() ? StringAttr() : builder.getStringAttr(text);
  };
  auto node = qtx::onnx::UnsupportedOp::create(
      builder, getLoc(proto), types, builder.getStringAttr(proto.op_type()),
      getOptional(domain), getOptional(reason),
      getComputedInputs(proto, scope));
  unsigned result = 0;
  for (auto [index, output] : llvm::enumerate(proto.output()))
    if (!output.empty())
      (void)setOutput(proto, index, node.getResult(result++), scope);
  return success();
}

/// Leaves out what the node computes, since some type is not known.
LogicalResult GraphImporter::leaveOut(const proto::NodeProto &proto,
                                      Scope &scope) {
  isIncomplete = true;
  for (int index = 0; index < proto.output_size(); ++index)
    (void)setOutput(proto, index, Value(), scope);
  return success();
}

/// Leaves out a node behind an unsupported one.
LogicalResult GraphImporter::skipBehind(const proto::NodeProto &proto,
                                        Scope &scope) {
  ++numBehind;
  return leaveOut(proto, scope);
}

LogicalResult GraphImporter::importNode(const proto::NodeProto &proto,
                                        Scope &scope) {
  if (++numNodes > kMaxNodes)
    return emitError(fileLoc) << "expected at most " << kMaxNodes << " nodes";
  if (const proto::FunctionProto *callee = findFunction(proto))
    return importCall(proto, *callee, scope);
  std::string key = getOperatorKey(proto);
  if (key == "Constant")
    return importConstant(proto, scope);
  if (key == "If")
    return importIf(proto, scope);
  auto rule = getRules().find(key);
  if (rule == getRules().end())
    return skip(proto, scope);
  return importOperator(proto, rule->second, scope);
}

Attribute GraphImporter::getAttribute(const proto::AttributeProto &proto,
                                      Location loc) {
  Type si64 = builder.getIntegerType(64, /*isSigned=*/true);
  auto getArray = [&](const auto &values, auto convert) -> Attribute {
    SmallVector<Attribute> attrs;
    for (const auto &value : values)
      attrs.push_back(convert(value));
    return builder.getArrayAttr(attrs);
  };
  auto getInt = [&](int64_t value) -> Attribute {
    return builder.getIntegerAttr(si64, value);
  };
  auto getFloat = [&](float value) -> Attribute {
    return builder.getF32FloatAttr(value);
  };
  auto getString = [&](const std::string &value) -> Attribute {
    return builder.getStringAttr(value);
  };
  switch (proto.type()) {
  case proto::AttributeProto::FLOAT:
    return getFloat(proto.f());
  case proto::AttributeProto::INT:
    return getInt(proto.i());
  case proto::AttributeProto::STRING:
    return getString(proto.s());
  case proto::AttributeProto::FLOATS:
    return getArray(proto.floats(), getFloat);
  case proto::AttributeProto::INTS:
    return getArray(proto.ints(), getInt);
  case proto::AttributeProto::STRINGS:
    return getArray(proto.strings(), getString);
  case proto::AttributeProto::TENSOR: {
    ElementsAttr &attr = constants.attrs[&proto.t()];
    if (!attr)
      attr = constants.reader.read(proto.t(), loc);
    return attr;
  }
  default:
    emitError(loc) << "unsupported attribute '" << proto.name() << "'";
    return {};
  }
}

/// The attribute, or what it stands for inside of a function; null if the call
/// leaves it out.
static const proto::AttributeProto *
resolveAttribute(const proto::AttributeProto &attribute, const Scope &scope) {
  if (attribute.ref_attr_name().empty())
    return &attribute;
  return scope.arguments ? scope.arguments->lookup(attribute.ref_attr_name())
                         : nullptr;
}

LogicalResult GraphImporter::setAttributes(const proto::NodeProto &proto,
                                           const Scope &scope, Node &node) {
  for (const proto::AttributeProto &attribute : proto.attribute()) {
    const proto::AttributeProto *resolved = resolveAttribute(attribute, scope);
    if (!resolved)
      continue;
    Attribute attr = getAttribute(*resolved, node.loc);
    if (!attr)
      return failure();
    node.attributes.set(attribute.name(), attr);
  }
  return success();
}

LogicalResult GraphImporter::importConstant(const proto::NodeProto &proto,
                                            Scope &scope) {
  Node node(state, builder, getLoc(proto));
  if (failed(setAttributes(proto, scope, node)))
    return failure();
  if (proto.output_size() != 1)
    return emitError(node.loc) << "expected a value of the constant";
  auto getTensor = [&](ArrayRef<int64_t> shape, Type type) {
    return RankedTensorType::get(shape, type);
  };
  ElementsAttr attr;
  if (auto value = node.attributes.get("value"))
    attr = dyn_cast<ElementsAttr>(value);
  else if (isa_and_present<IntegerAttr>(node.attributes.get("value_int")))
    attr = DenseElementsAttr::get(getTensor({}, builder.getI64Type()),
                                  node.getInt("value_int", 0));
  else if (isa_and_present<FloatAttr>(node.attributes.get("value_float")))
    attr = DenseElementsAttr::get(getTensor({}, builder.getF32Type()),
                                  node.getFloat("value_float", 0));
  else if (auto ints = node.getIntList("value_ints"))
    attr = DenseElementsAttr::get(
        getTensor(static_cast<int64_t>(ints->size()), builder.getI64Type()),
        ArrayRef<int64_t>(*ints));
  else if (auto floats = dyn_cast_or_null<ArrayAttr>(
               node.attributes.get("value_floats"))) {
    SmallVector<float> values;
    for (auto value : floats.getAsRange<FloatAttr>())
      values.push_back(value.getValue().convertToFloat());
    attr = DenseElementsAttr::get(
        getTensor(static_cast<int64_t>(values.size()), builder.getF32Type()),
        ArrayRef<float>(values));
  }
  if (!attr)
    return emitError(node.loc) << "expected a value of the constant";
  return setOutput(proto, 0, createConstant(attr, node.loc), scope);
}

LogicalResult GraphImporter::importIf(const proto::NodeProto &proto,
                                      Scope &scope) {
  Node node(state, builder, getLoc(proto));
  if (proto.input_size() != 1)
    return emitError(node.loc)
           << "expected 1 input, found " << proto.input_size();
  FailureOr<Value> condition = lookUp(proto.input(0), scope, node.loc);
  if (failed(condition))
    return failure();
  node.inputs = {*condition};
  std::optional<SmallVector<int64_t>> value =
      *condition ? node.getInts(0) : std::nullopt;
  if (!*condition)
    return skipBehind(proto, scope);
  if (!value || value->size() != 1)
    return skip(proto, scope, "condition is not constant");
  StringRef name = value->front() != 0 ? "then_branch" : "else_branch";
  const proto::GraphProto *branch = nullptr;
  for (const proto::AttributeProto &attribute : proto.attribute())
    if (attribute.name() == name && attribute.has_g())
      branch = &attribute.g();
  if (!branch || branch->output_size() < proto.output_size())
    return emitError(node.loc)
           << "expected a branch with " << proto.output_size() << " outputs";
  Scope inner;
  inner.parent = &scope;
  inner.opsets = scope.opsets;
  inner.arguments = scope.arguments;
  SmallVector<StringRef> outputs;
  for (int index = 0; index < proto.output_size(); ++index)
    outputs.push_back(branch->output(index).name());
  if (failed(addInitializers(*branch, inner)) ||
      failed(importNodes(branch->node(), inner, outputs)))
    return failure();
  for (auto [index, output] : llvm::enumerate(outputs)) {
    FailureOr<Value> result = lookUp(output, inner, node.loc);
    if (failed(result) || failed(setOutput(proto, index, *result, scope)))
      return failure();
  }
  return success();
}

LogicalResult GraphImporter::importCall(const proto::NodeProto &proto,
                                        const proto::FunctionProto &callee,
                                        Scope &scope) {
  Location loc = getLoc(proto);
  if (llvm::is_contained(callStack, &callee))
    return emitError(loc)
           << "expected functions without recursion, found that '"
           << callee.name() << "' calls itself";
  if (proto.input_size() > callee.input_size() ||
      proto.output_size() > callee.output_size())
    return emitError(loc) << "expected at most " << callee.input_size()
                          << " inputs and " << callee.output_size()
                          << " outputs of function '" << callee.name() << "'";
  Scope inner;
  for (const proto::OperatorSetIdProto &opset : callee.opset_import())
    inner.opsets[normalizeDomain(opset.domain())] = opset.version();

  // The number of FunctionProto.attribute_proto: attributes with defaults.
  constexpr int kAttributeProto = 11;
  std::vector<std::unique_ptr<proto::AttributeProto>> defaults;
  Scope::Attributes arguments;
  const auto &fields = callee.GetReflection()->GetUnknownFields(callee);
  for (int i = 0; i < fields.field_count(); ++i) {
    const google::protobuf::UnknownField &field = fields.field(i);
    if (field.number() != kAttributeProto ||
        field.type() != google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED)
      continue;
    auto attribute = std::make_unique<proto::AttributeProto>();
    if (!attribute->ParseFromString(field.length_delimited()))
      continue;
    arguments[attribute->name()] = attribute.get();
    defaults.push_back(std::move(attribute));
  }
  for (const proto::AttributeProto &attribute : proto.attribute())
    if (const proto::AttributeProto *resolved =
            resolveAttribute(attribute, scope))
      arguments[attribute.name()] = resolved;
  inner.arguments = &arguments;

  for (auto [index, name] : llvm::enumerate(callee.input())) {
    bool isGiven = static_cast<int>(index) < proto.input_size() &&
                   !proto.input(index).empty();
    FailureOr<Value> value = isGiven ? lookUp(proto.input(index), scope, loc)
                                     : FailureOr<Value>(createNone());
    if (failed(value))
      return failure();
    inner.values[name] = *value;
  }
  SmallVector<StringRef> outputs;
  for (int index = 0; index < proto.output_size(); ++index)
    if (!proto.output(index).empty())
      outputs.push_back(callee.output(index));
  callStack.push_back(&callee);
  LogicalResult isImported = importNodes(callee.node(), inner, outputs);
  callStack.pop_back();
  if (failed(isImported))
    return failure();
  for (int index = 0; index < proto.output_size(); ++index) {
    if (proto.output(index).empty())
      continue;
    FailureOr<Value> result = lookUp(callee.output(index), inner, loc);
    if (failed(result) || failed(setOutput(proto, index, *result, scope)))
      return failure();
  }
  return success();
}

static LogicalResult checkInputs(const Node &node, const Rule &rule) {
  size_t count = node.inputs.size();
  if (count < rule.minInputs)
    return emitError(node.loc)
           << "expected " << rule.minInputs << " or more inputs of " << node.op
           << ", found " << count;
  if (count > rule.maxInputs)
    return emitError(node.loc)
           << "expected at most " << rule.maxInputs << " inputs of " << node.op
           << ", found " << count;
  for (unsigned i = 0; i < rule.minInputs; ++i)
    if (!node.inputs[i])
      return emitError(node.loc)
             << "expected input " << i << " of " << node.op << ", found none";
  return success();
}

LogicalResult GraphImporter::importOperator(const proto::NodeProto &proto,
                                            const Rule &rule, Scope &scope) {
  Node node(state, builder, getLoc(proto));
  node.op = proto.op_type();
  node.domain = normalizeDomain(proto.domain());
  auto version = scope.opsets.find(node.domain);
  if (version == scope.opsets.end())
    return emitError(node.loc) << "expected a version of the operator set '"
                               << node.domain << "', found none";
  node.version = version->second;
  for (const std::string &name : proto.input()) {
    FailureOr<Value> value = name.empty() ? FailureOr<Value>(createNone())
                                          : lookUp(name, scope, node.loc);
    if (failed(value))
      return failure();
    if (!*value)
      return skipBehind(proto, scope);
    bool isNone = isa<NoneType>(value->getType());
    node.inputs.push_back(isNone ? Value() : *value);
  }
  if (failed(checkInputs(node, rule)))
    return failure();
  if (proto.output().empty() ||
      static_cast<unsigned>(proto.output_size()) > rule.maxOutputs)
    return emitError(node.loc)
           << "expected 1 to " << rule.maxOutputs << " outputs of " << node.op
           << ", found " << proto.output_size();
  node.setWanted(llvm::map_to_vector(
      proto.output(), [](const std::string &name) { return !name.empty(); }));
  if (failed(setAttributes(proto, scope, node)))
    return failure();
  if (failed(rule.infer(node)))
    return node.unsupportedReason.empty()
               ? failure()
               : skip(proto, scope, node.unsupportedReason);
  if (state.sizes.takeOverflow())
    return emitError(node.loc) << "expected sizes that fit 64 bits";
  return setResults(proto, scope, node);
}

LogicalResult GraphImporter::setResults(const proto::NodeProto &proto,
                                        Scope &scope, Node &node) {
  std::optional<SmallVector<Value>> results = node.finish();
  if (!results)
    return skip(proto, scope, "its outputs");
  for (auto [index, result] : llvm::enumerate(*results))
    if (failed(setOutput(proto, index, result, scope)))
      return failure();
  return success();
}
