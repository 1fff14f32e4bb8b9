//===- Options.td - Command line of qtxc -------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

include "llvm/Option/OptParser.td"

// An option with a value: `--name=VALUE` or `--name VALUE`, with one dash or two.
multiclass Value<string name, string meta, string help> {
  def NAME : Separate<["--", "-"], name>;
  def NAME#_eq : Joined<["--", "-"], name#"=">, Alias<!cast<Separate>(NAME)>,
                 MetaVarName<meta>, HelpText<help>;
}

class Switch<string name, string help>
    : Flag<["--", "-"], name>, HelpText<help>;

def help : Switch<"help", "Print this text">;
def output : Separate<["-"], "o">, MetaVarName<"<OUT>">,
             HelpText<"File to write, or - for the standard output">;

defm calibrate : Value<"calibrate", "<DATA.npz>", "Samples to observe the ranges of edges on">;
defm observer : Value<"observer", "<NAME>",
    "How ranges come from samples: min_max, running[:MOMENTUM], percentile[:PERCENT], mse[:BITS], extrapolated[:SAMPLES] (default: as the recipe says)">;
defm calibration_threads : Value<"calibration-threads", "<N>", "Threads that run over samples (default: all processors, at most 8)">;
defm recipe : Value<"recipe", "<NAME[:K]>",
    "How to quantize: int8 (default), int8-avx2, int8-all, w8a8, w8a8-dynamic, peg:K, peg-opt:K, peg-dynamic:K, w4a8, none, or a file (.json)">;
defm report : Value<"report", "<FILE>", "Write what became of each edge and layer (.json or .html)">;
defm remarks : Value<"remarks", "<KIND>",
    "Print what passes did or did not do, and why: missed, passed, analysis or all">;
defm emit : Value<"emit", "<KIND>",
    "What to write: mlir, linalg, llvm, asm, obj, lib or header (default: from the suffix of OUT)">;
defm name : Value<"name", "<NAME>", "Prefix of the C functions (default: the stem of OUT)">;
defm mtriple : Value<"mtriple", "<TRIPLE>", "Target to generate code for (default: this machine)">;
defm mcpu : Value<"mcpu", "<CPU>", "CPU to generate code for (default: native), or multi: several, of which the object picks one">;
defm mattr : Value<"mattr", "<FEATURES>", "CPU features to add or remove, as +avx2,-fma">;
def O : Joined<["-"], "O">, MetaVarName<"<LEVEL>">, HelpText<"LLVM's optimization level, 0 to 3 (default: 2)">;
defm threads : Value<"threads", "<N>", "Most threads that the code uses (default: 1)">;
def reference : Switch<"reference", "Lower everything by the reference path">;
defm stop_after : Value<"stop-after", "<STAGE>", "Write the IR at the exit of a stage">;
defm dump_stages : Value<"dump-stages", "<DIR>", "Write the IR after each stage into a folder">;
defm weights : Value<"weights", "<FILE>", "Write the weights to a file of their own, which callers map and pass">;
def simulate : Switch<"simulate", "Compute in float what the quantized model computes in integers">;
def verify : Switch<"verify", "Run the code and the reference on the samples, and fail if they differ by more than they may">;
def tune : Switch<"tune", "Time configurations of linear layers on this machine and keep the best for later">;
def tune_eq : Joined<["--", "-"], "tune=">, MetaVarName<"<FILE>">,
              HelpText<"The same, kept in FILE instead of qtx/tune.json in the cache folder">;
def quiet : Switch<"quiet", "Print errors and warnings only">;
