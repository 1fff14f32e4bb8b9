//===- Benchmark.cpp - Time compiled models -------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Target/Benchmark.h"
#include "qtx/Kernel/Target.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include <algorithm>
#include <chrono>
#include <random>

using namespace mlir;
using namespace qtx;

using Clock = std::chrono::steady_clock;

static double getSeconds(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

//===----------------------------------------------------------------------===//
// Peak
//===----------------------------------------------------------------------===//

namespace {
/// How an instruction takes the accumulator.
enum class Sum { First, Last, AddedApart, Widened };

/// A dot-product instruction on vectors.
struct Instruction {
  StringLiteral isa;
  /// The features it needs, separated by commas.
  StringLiteral features;
  /// Additions and multiplications of one instruction, or of two where sums of
  /// 16 bits are widened.
  unsigned ops;
  StringLiteral accumulator;
  StringLiteral operand;
  StringLiteral intrinsic;
  Sum sum;
};
} // namespace

/// The best first.
static constexpr Instruction kInstructions[] = {
    {"avx512vnni", "avx512vnni,avx512f", 128, "<16 x i32>", "<64 x i8>",
     "llvm.x86.avx512.vpdpbusd.512", Sum::First},
    {"avxvnni", "avxvnni,avx2", 64, "<8 x i32>", "<32 x i8>",
     "llvm.x86.avx512.vpdpbusd.256", Sum::First},
    {"avx2-bytes", "avx2", 128, "<8 x i32>", "<32 x i8>",
     "llvm.x86.avx2.pmadd.ub.sw", Sum::Widened},
    {"avx2", "avx2", 32, "<8 x i32>", "<16 x i16>", "llvm.x86.avx2.pmadd.wd",
     Sum::AddedApart},
    {"avx512f", "avx512f", 32, "<16 x float>", "<16 x float>",
     "llvm.fma.v16f32", Sum::Last},
    {"fma", "fma,avx2", 16, "<8 x float>", "<8 x float>", "llvm.fma.v8f32",
     Sum::Last},
    {"dotprod", "dotprod,neon", 32, "<4 x i32>", "<16 x i8>",
     "llvm.aarch64.neon.sdot.v4i32.v16i8", Sum::First},
    {"neon", "neon", 8, "<4 x float>", "<4 x float>", "llvm.fma.v4f32",
     Sum::Last},
};

/// Independent accumulators: latency times instructions per cycle, at least,
/// and some more, since loops end and ports are chosen in advance. AVX-512 has
/// 32 registers, the others 16.
static constexpr unsigned kMaxAccumulators = 20;

/// Instructions of each in an iteration: where another thread shares the core,
/// each end of one costs cycles.
static constexpr unsigned kTurns = 8;

static unsigned getNumAccumulators(const Instruction &instruction) {
  // Each has five registers of its own under way, but none waits for long.
  if (instruction.sum == Sum::Widened)
    return 8;
  return instruction.accumulator.starts_with("<16 x") ? kMaxAccumulators : 12;
}

/// `+a,+b` from `a,b`.
static std::string makeFeatureString(StringRef features) {
  SmallVector<StringRef> names;
  features.split(names, ',');
  return "+" + llvm::join(names, ",+");
}

/// Sum `k` in turn `turn + 1`, which is that before plus the products of `%a`
/// and `%b`.
static void writeDot(llvm::raw_ostream &stream, const Instruction &instruction,
                     unsigned k, unsigned turn) {
  StringRef sum = instruction.accumulator, operand = instruction.operand;
  std::string before = llvm::formatv("%s{0}_{1}", k, turn),
              after = llvm::formatv("%s{0}_{1}", k, turn + 1);
  switch (instruction.sum) {
  case Sum::First:
    stream << llvm::formatv("  {0} = call {1} @{2}({1} {3}, {4} %a, {4} %b)\n",
                            after, sum, instruction.intrinsic, before, operand);
    return;
  case Sum::Last:
    stream << llvm::formatv("  {0} = call {1} @{2}({4} %a, {4} %b, {1} {3})\n",
                            after, sum, instruction.intrinsic, before, operand);
    return;
  case Sum::AddedApart:
    // The products depend on the sum, or they would be the same in each turn.
    stream << llvm::formatv(
        "  %c{5}_{6} = bitcast {1} {3} to {4}\n"
        "  %m{5}_{6} = call {1} @{2}({4} %a, {4} %c{5}_{6})\n"
        "  {0} = add {1} {3}, %m{5}_{6}\n",
        after, sum, instruction.intrinsic, before, operand, k, turn);
    return;
  case Sum::Widened:
    stream << llvm::formatv(
        "  %c{5}_{6} = bitcast {1} {3} to {4}\n"
        "  %l{5}_{6} = call <16 x i16> @{2}({4} %a, {4} %c{5}_{6})\n"
        "  %h{5}_{6} = call <16 x i16> @{2}({4} %c{5}_{6}, {4} %a)\n"
        "  %t{5}_{6} = add <16 x i16> %l{5}_{6}, %h{5}_{6}\n"
        "  %m{5}_{6} = call {1} @llvm.x86.avx2.pmadd.wd("
        "<16 x i16> %t{5}_{6}, <16 x i16> splat (i16 1))\n"
        "  {0} = add {1} {3}, %m{5}_{6}\n",
        after, sum, instruction.intrinsic, before, operand, k, turn);
    return;
  }
  llvm_unreachable("unknown form");
}

/// A function `void peak(ptr operands, ptr sums, i64 iterations)`.
static std::string makeVectorLoop(const Instruction &instruction) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  StringRef sum = instruction.accumulator, operand = instruction.operand;
  unsigned count = getNumAccumulators(instruction);
  stream << "define void @peak(ptr %operands, ptr %sums, i64 %n) #0 {\n"
         << "entry:\n"
         << "  %a = load " << operand << ", ptr %operands, align 1\n"
         << "  %next = getelementptr i8, ptr %operands, i64 64\n"
         << "  %b = load " << operand << ", ptr %next, align 1\n"
         << "  br label %loop\nloop:\n"
         << "  %i = phi i64 [0, %entry], [%i1, %loop]\n";
  for (unsigned k = 0; k < count; ++k)
    stream << llvm::formatv("  %s{0}_0 = phi {1} [zeroinitializer, %entry], "
                            "[%s{0}_{2}, %loop]\n",
                            k, sum, kTurns);
  for (unsigned turn = 0; turn < kTurns; ++turn)
    for (unsigned k = 0; k < count; ++k)
      writeDot(stream, instruction, k, turn);
  stream << "  %i1 = add i64 %i, 1\n"
         << "  %more = icmp ult i64 %i1, %n\n"
         << "  br i1 %more, label %loop, label %exit\nexit:\n";
  for (unsigned k = 0; k < count; ++k)
    stream << llvm::formatv("  %p{0} = getelementptr {1}, ptr %sums, i64 {0}\n"
                            "  store {1} %s{0}_{2}, ptr %p{0}, align 1\n",
                            k, sum, kTurns);
  stream << "  ret void\n}\n"
         << "attributes #0 = { \"target-features\"=\""
         << makeFeatureString(instruction.features) << "\" }\n";
  return text;
}

namespace {
/// A machine code loop in this process.
class PeakLoop {
public:
  static llvm::Expected<PeakLoop> create(StringRef text) {
    static const bool initialized = [] {
      llvm::InitializeNativeTarget();
      llvm::InitializeNativeTargetAsmPrinter();
      return true;
    }();
    (void)initialized;
    auto context = std::make_unique<llvm::LLVMContext>();
    llvm::SMDiagnostic problem;
    auto module = llvm::parseAssemblyString(text, problem, *context);
    if (!module)
      return llvm::createStringError(problem.getMessage());
    auto jit = llvm::orc::LLJITBuilder().create();
    if (!jit)
      return jit.takeError();
    module->setDataLayout((*jit)->getDataLayout());
    if (llvm::Error error = (*jit)->addIRModule(
            llvm::orc::ThreadSafeModule(std::move(module), std::move(context))))
      return error;
    auto address = (*jit)->lookup("peak");
    if (!address)
      return address.takeError();
    PeakLoop loop;
    loop.jit = std::move(*jit);
    loop.function = address->toPtr<Function>();
    return loop;
  }

  /// Iterations per second, the best of some trials.
  double measure(const char *operands, char *sums) {
    int64_t iterations = 1000;
    // Long enough for the clock, short enough not to be interrupted.
    while (time(operands, sums, iterations) < 0.02)
      iterations *= 2;
    return measureTrials(operands, sums, iterations);
  }

  /// The same with that many iterations in a trial.
  double measureTrials(const char *operands, char *sums, int64_t iterations) {
    double seconds = time(operands, sums, iterations);
    for (unsigned trial = 0; trial < 10; ++trial)
      seconds = std::min(seconds, time(operands, sums, iterations));
    return iterations / seconds;
  }

private:
  using Function = void (*)(const char *operands, char *sums, int64_t n);

  double time(const char *operands, char *sums, int64_t iterations) {
    Clock::time_point start = Clock::now();
    function(operands, sums, iterations);
    return getSeconds(start);
  }

  std::unique_ptr<llvm::orc::LLJIT> jit;
  Function function = nullptr;
};
} // namespace

static constexpr size_t kTileBytes = 1024;

/// A loop over four accumulators of 16 by 16 sums, on tiles of 16 rows of 64
/// bytes: the configuration lies in the sums. The operands are random: zeros
/// take so little power that clocks are up to a quarter higher than beside any
/// layer.
static constexpr StringLiteral kTileLoop = R"(
define void @peak(ptr %operands, ptr %sums, i64 %n) #0 {
entry:
  call void @llvm.memset.p0.i64(ptr %sums, i8 0, i64 64, i1 false)
  store i8 1, ptr %sums
  %columns = getelementptr i8, ptr %sums, i64 16
  store <8 x i16> splat (i16 64), ptr %columns, align 1
  %rows = getelementptr i8, ptr %sums, i64 48
  store <8 x i8> splat (i8 16), ptr %rows, align 1
  call void @llvm.x86.ldtilecfg(ptr %sums)
  %bytes = getelementptr i8, ptr %operands, i64 128
  call void @llvm.x86.tilezero(i8 0)
  call void @llvm.x86.tilezero(i8 1)
  call void @llvm.x86.tilezero(i8 2)
  call void @llvm.x86.tilezero(i8 3)
  call void @llvm.x86.tileloadd64(i8 4, ptr %bytes, i64 64)
  call void @llvm.x86.tileloadd64(i8 5, ptr %bytes, i64 64)
  call void @llvm.x86.tileloadd64(i8 6, ptr %bytes, i64 64)
  call void @llvm.x86.tileloadd64(i8 7, ptr %bytes, i64 64)
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i1, %loop]
  call void @llvm.x86.tdpbusd(i8 0, i8 4, i8 6)
  call void @llvm.x86.tdpbusd(i8 1, i8 4, i8 7)
  call void @llvm.x86.tdpbusd(i8 2, i8 5, i8 6)
  call void @llvm.x86.tdpbusd(i8 3, i8 5, i8 7)
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %n
  br i1 %more, label %loop, label %exit
exit:
  call void @llvm.x86.tilerelease()
  ret void
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.x86.ldtilecfg(ptr)
declare void @llvm.x86.tilezero(i8)
declare void @llvm.x86.tileloadd64(i8, ptr, i64)
declare void @llvm.x86.tdpbusd(i8, i8, i8)
declare void @llvm.x86.tilerelease()
attributes #0 = { "target-features"="+amx-tile,+amx-int8,+avx2" }
)";

/// Whether `features` hold `name`: the last mention counts.
static bool isOn(StringRef features, StringRef name) {
  SmallVector<StringRef> mentions;
  features.split(mentions, ',');
  for (StringRef mention : llvm::reverse(mentions))
    if (mention.drop_front(!mention.empty()) == name)
      return mention.starts_with("+");
  return false;
}

/// Whether this machine has all `needed` features and `allowed` leaves them in.
static bool isAllowed(StringRef needed, const llvm::StringMap<bool> &host,
                      StringRef allowed) {
  SmallVector<StringRef> names;
  needed.split(names, ',');
  return llvm::all_of(names, [&](StringRef name) {
    return host.lookup(name) && (allowed.empty() || isOn(allowed, name));
  });
}

namespace {
/// A loop of one instruction, and what an iteration of it does.
struct InstructionLoop {
  StringRef isa;
  std::string text;
  double ops;
};
} // namespace

/// The loops that this machine can run, the best first.
static SmallVector<InstructionLoop> getLoops(StringRef features) {
  SmallVector<InstructionLoop> loops;
  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  if (isAllowed("amx-tile,amx-int8", host, features) && requestAMX())
    loops.push_back({"amx-int8", kTileLoop.str(), 4 * 2.0 * 16 * 16 * 64});
  for (const Instruction &instruction : kInstructions)
    if (isAllowed(instruction.features, host, features))
      loops.push_back(
          {instruction.isa, makeVectorLoop(instruction),
           double(instruction.ops) * getNumAccumulators(instruction) * kTurns});
  return loops;
}

static llvm::Expected<Peak> measureLoop(const InstructionLoop &loop) {
  auto compiled = PeakLoop::create(loop.text);
  if (!compiled)
    return compiled.takeError();
  // What vectors multiply is zero: random floats could be denormal.
  alignas(64) char operands[128 + kTileBytes] = {}, sums[64 * kMaxAccumulators];
  std::minstd_rand random;
  std::generate_n(operands + 128, kTileBytes, random);
  return Peak{loop.isa.str(),
              compiled->measure(operands, sums) * loop.ops * 1e-9};
}

llvm::Expected<Peak> qtx::measurePeak(StringRef features) {
  SmallVector<InstructionLoop> loops = getLoops(features);
  if (loops.empty())
    return llvm::createStringError(
        "the object's CPU features name no instruction with a known peak");
  return measureLoop(loops.front());
}

llvm::Expected<std::vector<Peak>> qtx::measurePeaks() {
  std::vector<Peak> peaks;
  for (const InstructionLoop &loop : getLoops("")) {
    auto peak = measureLoop(loop);
    if (!peak)
      return peak.takeError();
    peaks.push_back(*peak);
  }
  return peaks;
}

/// Places of the memory that are read in turn: one alone does not keep all
/// requests busy that a core can have under way.
static constexpr unsigned kNumStreams = 4;

/// Adds up `kNumStreams * n` lines of 64 bytes: the compiler may not leave a
/// load out, and vectors of any machine are wide enough to wait for memory
/// only.
static std::string makeReadLoop() {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << "define void @peak(ptr %operands, ptr %sums, i64 %n) {\n"
         << "entry:\n  br label %loop\nloop:\n"
         << "  %i = phi i64 [0, %entry], [%i1, %loop]\n"
         << "  %s0 = phi <16 x i32> [zeroinitializer, %entry], [%s"
         << kNumStreams << ", %loop]\n";
  for (unsigned k = 0; k < kNumStreams; ++k)
    stream << llvm::formatv(
        "  %o{0} = mul i64 %n, {0}\n"
        "  %l{0} = add i64 %i, %o{0}\n"
        "  %p{0} = getelementptr [64 x i8], ptr %operands, i64 %l{0}\n"
        "  %v{0} = load <16 x i32>, ptr %p{0}, align 1\n"
        "  %s{1} = add <16 x i32> %s{0}, %v{0}\n",
        k, k + 1);
  stream << "  %i1 = add i64 %i, 1\n"
         << "  %more = icmp ult i64 %i1, %n\n"
         << "  br i1 %more, label %loop, label %exit\nexit:\n"
         << "  store <16 x i32> %s" << kNumStreams
         << ", ptr %sums, align 1\n  ret void\n}\n";
  return text;
}

llvm::Expected<double> qtx::measureBandwidth(size_t bytes) {
  auto loop = PeakLoop::create(makeReadLoop());
  if (!loop)
    return loop.takeError();
  // Written, since pages that never were are all the same one.
  std::vector<char> memory(bytes, 1);
  alignas(64) char sum[64];
  constexpr int64_t kStep = kNumStreams * 64;
  int64_t steps = bytes / kStep;
  return loop->measureTrials(memory.data(), sum, steps) * kStep * 1e-9;
}

//===----------------------------------------------------------------------===//
// Models
//===----------------------------------------------------------------------===//

llvm::Expected<Timing> qtx::timeModel(const CompiledModel &model,
                                      ArrayRef<BufferView> inputs,
                                      const BenchmarkOptions &options) {
  auto prepared = model.prepare(inputs);
  if (!prepared)
    return prepared.takeError();
  for (size_t i = 0; i < options.warmUpRuns; ++i)
    if (llvm::Error error = model.run(*prepared))
      return error;
  std::vector<double> times;
  Clock::time_point begin = Clock::now();
  while (times.size() < options.maxRuns &&
         (times.size() < options.minRuns ||
          getSeconds(begin) < options.maxSeconds)) {
    Clock::time_point start = Clock::now();
    if (llvm::Error error = model.run(*prepared))
      return error;
    times.push_back(1e3 * getSeconds(start));
  }
  llvm::sort(times);
  size_t middle = times.size() / 2;
  double median = times.size() % 2 ? times[middle]
                                   : (times[middle - 1] + times[middle]) / 2;
  return Timing{median, times.front(), times.size()};
}
