//===- CPUCheck.cpp - Which CPUs run an object ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CPUCheck.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"
#include <array>

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Features of x86
//===----------------------------------------------------------------------===//

namespace {
/// Words of bits that CPUID has for a program, and what XGETBV says of the
/// operating system.
enum Word : unsigned {
  kLeaf1C,
  kLeaf7B,
  kLeaf7C,
  kLeaf7D,
  kLeaf7Sub1A,
  kLeaf7Sub1D,
  kExtendedLeaf1C,
  kSystem,
  kNumWords
};

/// Registers whose contents the operating system keeps.
enum SystemState : uint32_t {
  kNoState = 0,
  kAVXState = 0x6,
  kAVX512State = 0xe6,
  kTileState = 0x60000,
  kAPXState = 0x80000
};

struct Feature {
  StringLiteral name;
  Word word;
  unsigned bit;
  SystemState state = kNoState;
};
} // namespace

/// The features that code generation uses unasked, and those of micro-kernels;
/// the better ones last. Others, such as `aes`, make no difference.
static constexpr Feature kFeatures[] = {
    {"sse3", kLeaf1C, 0},
    {"ssse3", kLeaf1C, 9},
    {"cx16", kLeaf1C, 13},
    {"sse4.1", kLeaf1C, 19},
    {"sse4.2", kLeaf1C, 20},
    {"movbe", kLeaf1C, 22},
    {"popcnt", kLeaf1C, 23},
    {"sahf", kExtendedLeaf1C, 0},
    {"lzcnt", kExtendedLeaf1C, 5},
    {"sse4a", kExtendedLeaf1C, 6},
    {"prfchw", kExtendedLeaf1C, 8},
    {"bmi", kLeaf7B, 3},
    {"bmi2", kLeaf7B, 8},
    {"gfni", kLeaf7C, 8},
    {"avx", kLeaf1C, 28, kAVXState},
    {"f16c", kLeaf1C, 29, kAVXState},
    {"fma", kLeaf1C, 12, kAVXState},
    {"fma4", kExtendedLeaf1C, 16, kAVXState},
    {"xop", kExtendedLeaf1C, 11, kAVXState},
    {"avx2", kLeaf7B, 5, kAVXState},
    {"avxifma", kLeaf7Sub1A, 23, kAVXState},
    {"avxvnniint16", kLeaf7Sub1D, 10, kAVXState},
    {"avxvnni", kLeaf7Sub1A, 4, kAVXState},
    {"avxvnniint8", kLeaf7Sub1D, 4, kAVXState},
    {"avx512f", kLeaf7B, 16, kAVX512State},
    {"avx512dq", kLeaf7B, 17, kAVX512State},
    {"avx512ifma", kLeaf7B, 21, kAVX512State},
    {"avx512cd", kLeaf7B, 28, kAVX512State},
    {"avx512bw", kLeaf7B, 30, kAVX512State},
    {"avx512vl", kLeaf7B, 31, kAVX512State},
    {"avx512vbmi", kLeaf7C, 1, kAVX512State},
    {"avx512vbmi2", kLeaf7C, 6, kAVX512State},
    {"avx512bitalg", kLeaf7C, 12, kAVX512State},
    {"avx512vpopcntdq", kLeaf7C, 14, kAVX512State},
    {"avx512fp16", kLeaf7D, 23, kAVX512State},
    {"avx512bf16", kLeaf7Sub1A, 5, kAVX512State},
    {"avx512vnni", kLeaf7C, 11, kAVX512State},
    {"egpr", kLeaf7Sub1D, 21, kAPXState},
    {"amx-tile", kLeaf7D, 24, kTileState},
    {"amx-int8", kLeaf7D, 25, kTileState},
};

/// The bits that a version needs.
static std::array<uint32_t, kNumWords> getNeededBits(StringRef features) {
  std::array<uint32_t, kNumWords> needed = {};
  SmallVector<StringRef> names;
  features.split(names, ',', -1, /*KeepEmpty=*/false);
  for (const Feature &feature : kFeatures) {
    if (!llvm::is_contained(names, ("+" + feature.name).str()))
      continue;
    needed[feature.word] |= uint32_t(1) << feature.bit;
    needed[kSystem] |= feature.state;
  }
  return needed;
}

static bool isX86(const ObjectInterface &interface) {
  return llvm::Triple(interface.triple).getArch() == llvm::Triple::x86_64;
}

CodeVersion qtx::describeVersion(const llvm::TargetMachine &machine) {
  CodeVersion version{machine.getTargetTriple().getArchName().str(), ""};
  if (machine.getTargetTriple().getArch() != llvm::Triple::x86_64)
    return version;
  const llvm::MCSubtargetInfo &subtarget = *machine.getMCSubtargetInfo();
  static constexpr StringLiteral kKernelFeatures[] = {
      "avx2", "avxvnni", "avxvnniint8", "avx512f", "avx512vnni", "amx-int8"};
  for (const Feature &feature : kFeatures) {
    if (!subtarget.checkFeatures(("+" + feature.name).str()))
      continue;
    version.features += (version.features.empty() ? "+" : ",+");
    version.features += feature.name;
    if (llvm::is_contained(kKernelFeatures, feature.name))
      version.name = feature.name;
  }
  return version;
}

//===----------------------------------------------------------------------===//
// Code
//===----------------------------------------------------------------------===//

void qtx::compileForLeastCPU(LLVM::LLVMFuncOp function,
                             const ObjectInterface &interface) {
  if (!isX86(interface))
    return;
  MLIRContext *context = function.getContext();
  function.setTargetCpu("x86-64");
  function.setTargetFeaturesAttr(
      LLVM::TargetFeaturesAttr::get(context, ArrayRef<StringRef>{"+sse2"}));
}

namespace {
class CheckWriter {
public:
  CheckWriter(ModuleOp module, const ObjectInterface &interface)
      : module(module), interface(interface),
        builder(module.getLoc(), module.getContext()),
        number(builder.getI32Type()) {}

  /// A function that remembers what `find` found.
  LLVM::LLVMFuncOp writeCached(LLVM::LLVMFuncOp find) {
    builder.setInsertionPointToStart(module.getBody());
    // Zero until the first call. Threads that race store the same number.
    auto global = LLVM::GlobalOp::create(
        builder, number, /*isConstant=*/false, LLVM::Linkage::Internal,
        "qtx_found_version", builder.getI32IntegerAttr(0));
    LLVM::LLVMFuncOp function = begin("qtx_version");
    Value address = LLVM::AddressOfOp::create(builder, global);
    auto known =
        LLVM::LoadOp::create(builder, number, address, /*alignment=*/4);
    known.setOrdering(LLVM::AtomicOrdering::monotonic);
    Value isKnown = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::ne,
                                         known, makeNumber(0));
    // What is stored counts from one for the versions.
    auto makeResult = [&](Value stored) -> Value {
      return LLVM::SubOp::create(builder, stored, makeNumber(1));
    };
    Block *unknown = makeBlock();
    goOnIf(isKnown, unknown);
    LLVM::ReturnOp::create(builder, makeResult(known));
    builder.setInsertionPointToEnd(unknown);
    Value found = LLVM::CallOp::create(builder, find, ValueRange()).getResult();
    auto store =
        LLVM::StoreOp::create(builder, found, address, /*alignment=*/4);
    store.setOrdering(LLVM::AtomicOrdering::monotonic);
    LLVM::ReturnOp::create(builder, makeResult(found));
    return function;
  }

  /// One more than the index of the best version; -1 if none can run.
  LLVM::LLVMFuncOp writeFind() {
    LLVM::LLVMFuncOp function = begin("qtx_find_version");
    // It runs once.
    function.setNoInline(true);
    if (isX86(interface))
      readCPU();
    for (size_t i = interface.versions.size(); i-- > 0;) {
      Block *next = isX86(interface) ? checkVersion(i) : nullptr;
      LLVM::ReturnOp::create(builder, makeNumber(i + 1));
      if (!next)
        return function;
      builder.setInsertionPointToEnd(next);
    }
    LLVM::ReturnOp::create(builder, makeNumber(-1));
    return function;
  }

private:
  LLVM::LLVMFuncOp begin(StringRef name) {
    builder.setInsertionPointToEnd(module.getBody());
    auto function = LLVM::LLVMFuncOp::create(
        builder, name, LLVM::LLVMFunctionType::get(number, {}),
        LLVM::Linkage::Internal);
    compileForLeastCPU(function, interface);
    builder.setInsertionPointToStart(function.addEntryBlock(builder));
    return function;
  }

  Block *makeBlock() {
    OpBuilder::InsertionGuard guard(builder);
    Region *body = builder.getInsertionBlock()->getParent();
    return builder.createBlock(body, body->end());
  }

  /// Goes on in a new block where `condition` holds, at `otherwise` elsewhere.
  void goOnIf(Value condition, Block *otherwise) {
    Block *next = makeBlock();
    LLVM::CondBrOp::create(builder, condition, next, otherwise);
    builder.setInsertionPointToEnd(next);
  }

  Value makeNumber(int64_t value) {
    return LLVM::ConstantOp::create(builder, number, int32_t(value));
  }

  //===--- Reading
  //------------------------------------------------------------//

  Value callAssembly(Type result, ValueRange operands, StringRef text,
                     StringRef constraints) {
    return LLVM::InlineAsmOp::create(
               builder, result, operands, text, constraints,
               /*has_side_effects=*/true, /*is_align_stack=*/false,
               LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
        .getRes();
  }

  /// The registers eax, ebx, ecx, edx after CPUID.
  SmallVector<Value> callCPUID(uint32_t leaf, uint32_t subleaf) {
    auto registers = LLVM::LLVMStructType::getLiteral(
        builder.getContext(), {number, number, number, number});
    Value answer = callAssembly(
        registers, {makeNumber(leaf), makeNumber(subleaf)}, "cpuid",
        "={ax},={bx},={cx},={dx},0,2,~{dirflag},~{fpsr},~{flags}");
    SmallVector<Value> values;
    for (int64_t i = 0; i < 4; ++i)
      values.push_back(LLVM::ExtractValueOp::create(builder, answer, i));
    return values;
  }

  /// `value` where the CPU has the leaf, else zero: it answers something for
  /// leaves that it lacks.
  Value keepIf(Value condition, Value value) {
    return LLVM::SelectOp::create(builder, condition, value, makeNumber(0));
  }

  Value isAtLeast(Value value, uint32_t limit) {
    return LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::uge, value,
                                makeNumber(limit));
  }

  void readCPU() {
    constexpr uint32_t kExtended = 0x80000000u;
    Value hasLeaf7 = isAtLeast(callCPUID(0, 0)[0], 7);
    words[kLeaf1C] = callCPUID(1, 0)[2];
    SmallVector<Value> leaf7 = callCPUID(7, 0);
    for (Value &value : leaf7)
      value = keepIf(hasLeaf7, value);
    words[kLeaf7B] = leaf7[1];
    words[kLeaf7C] = leaf7[2];
    words[kLeaf7D] = leaf7[3];
    Value hasSubleaf1 = isAtLeast(leaf7[0], 1);
    SmallVector<Value> subleaf1 = callCPUID(7, 1);
    words[kLeaf7Sub1A] = keepIf(hasSubleaf1, subleaf1[0]);
    words[kLeaf7Sub1D] = keepIf(hasSubleaf1, subleaf1[3]);
    Value hasExtended = isAtLeast(callCPUID(kExtended, 0)[0], kExtended + 1);
    words[kExtendedLeaf1C] =
        keepIf(hasExtended, callCPUID(kExtended + 1, 0)[2]);
    words[kSystem] = readSystemState();
  }

  /// The register that XGETBV reads; zero where the instruction is not there.
  Value readSystemState() {
    constexpr uint32_t kOSXSave = 1u << 27;
    Value isThere = hasBits(words[kLeaf1C], kOSXSave);
    Value zero = makeNumber(0);
    Block *read = makeBlock(), *rest = makeBlock();
    BlockArgument state = rest->addArgument(number, builder.getLoc());
    LLVM::CondBrOp::create(builder, isThere, read, ValueRange(), rest, zero);
    builder.setInsertionPointToEnd(read);
    auto registers = LLVM::LLVMStructType::getLiteral(builder.getContext(),
                                                      {number, number});
    Value answer = callAssembly(registers, makeNumber(0), "xgetbv",
                                "={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}");
    Value low = LLVM::ExtractValueOp::create(builder, answer, 0);
    LLVM::BrOp::create(builder, low, rest);
    builder.setInsertionPointToEnd(rest);
    return state;
  }

  //===--- Deciding
  //-----------------------------------------------------------//

  Value hasBits(Value word, uint32_t bits) {
    Value mask = makeNumber(bits);
    Value masked = LLVM::AndOp::create(builder, word, mask);
    return LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::eq, masked, mask);
  }

  /// Goes on where the version can run; returns the block for where it cannot.
  Block *checkVersion(size_t index) {
    std::array<uint32_t, kNumWords> needed =
        getNeededBits(interface.versions[index].features);
    Value can = LLVM::ConstantOp::create(builder, builder.getI1Type(), true);
    for (unsigned word = 0; word < kNumWords; ++word)
      if (needed[word])
        can = LLVM::AndOp::create(builder, can,
                                  hasBits(words[word], needed[word]));
    Block *next = makeBlock();
    goOnIf(can, next);
    if (needed[kSystem] & kTileState)
      goOnIf(requestTiles(), next);
    return next;
  }

  /// Asks Linux to let this process use tile registers; whether it does.
  Value requestTiles() {
    constexpr int64_t kArchPrctl = 158, kRequestPermission = 0x1023,
                      kTileData = 18;
    Type word = builder.getI64Type();
    SmallVector<Value> operands;
    for (int64_t value : {kArchPrctl, kRequestPermission, kTileData})
      operands.push_back(LLVM::ConstantOp::create(builder, word, value));
    Value error = callAssembly(word, operands, "syscall",
                               "={ax},0,{di},{si},~{rcx},~{r11},~{memory},"
                               "~{dirflag},~{fpsr},~{flags}");
    Value zero = LLVM::ConstantOp::create(builder, word, int64_t(0));
    return LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::eq, error, zero);
  }

  ModuleOp module;
  const ObjectInterface &interface;
  ImplicitLocOpBuilder builder;
  Type number;
  std::array<Value, kNumWords> words;
};
} // namespace

LLVM::LLVMFuncOp qtx::addVersionFunction(ModuleOp module,
                                         const ObjectInterface &interface) {
  CheckWriter writer(module, interface);
  LLVM::LLVMFuncOp find = writer.writeFind();
  return writer.writeCached(find);
}
