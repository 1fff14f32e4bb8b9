//===- emulator.h - Instructions in software ---------------------*- C -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A library to load before others. It executes instructions that the CPU
// refuses: products of tiles, and VEX-encoded products of bytes. It also
// answers for CPUID and for the kernel where objects ask: see `questions.c`.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TEST_EMULATOR_H
#define QTX_TEST_EMULATOR_H

#include <signal.h>
#include <stdint.h>
#include <ucontext.h>

/// Fields of a VEX-encoded instruction.
typedef struct {
  const uint8_t *next;
  int prefix; // 0: none, 1: 66, 2: F3, 3: F2
  int opcode;
  int isWide;            // 256 bits
  int source;            // VEX.vvvv
  int isMemory, reg, rm; // the registers with all their four bits
  /// The memory operand, and its index register as a stride.
  int64_t base, stride;
} Instruction;

/// Bits of the saved state that say which components it has.
enum { kVectorState = 2, kUpperState = 6, kTileConfigState = 17, kNumStates };

/// What the CPU saved at a signal, where component `number` begins in it, and
/// which components are not in their initial state.
uint8_t *getSavedState(const ucontext_t *context);
unsigned getStateOffset(int number);
uint64_t *getSavedComponents(const ucontext_t *context);

/// Each executes an instruction of its kind, or returns 0.
int executeTiles(const Instruction *in, const ucontext_t *context);
int executeDot(const Instruction *in, ucontext_t *context);
int executeQuestion(ucontext_t *context);

/// What the environment says of the CPU and the kernel.
void readAnswers(void);
/// Whether the kernel gives permission for tiles, asked once more.
int askForTiles(void);

/// Executed so far, and how often permission was asked for.
extern long emulatedTiles, emulatedDots, askedForTiles;

#endif // QTX_TEST_EMULATOR_H
