//===- emulator.c - Instructions in software ------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define _GNU_SOURCE
#include "emulator.h"
#include <cpuid.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

static int64_t getRegister(const ucontext_t *context, int number) {
  static const int places[] = {
      REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
      REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return context->uc_mcontext.gregs[places[number]];
}

static int64_t readDisplacement(const uint8_t **at, int bytes) {
  int32_t wide = 0;
  if (bytes == 1)
    wide = (int8_t)**at;
  else if (bytes == 4)
    memcpy(&wide, *at, 4);
  *at += bytes;
  return wide;
}

/// Reads what follows ModRM of a memory operand. The fourth bits of the base
/// and the index are in `high`.
static void decodeMemory(Instruction *in, const ucontext_t *context, int mod,
                         int rm, int high) {
  int baseNumber = rm | (high & 1 ? 8 : 0);
  int isRelative = mod == 0 && rm == 5, hasBase = !isRelative;
  if (rm == 4) {
    int sib = *in->next++, indexNumber = (sib >> 3 & 7) | (high & 2 ? 8 : 0);
    baseNumber = (sib & 7) | (high & 1 ? 8 : 0);
    hasBase = !(mod == 0 && (sib & 7) == 5);
    if (indexNumber != 4)
      in->stride = getRegister(context, indexNumber) << (sib >> 6);
  }
  int bytes = mod == 1 ? 1 : mod == 2 || !hasBase ? 4 : 0;
  in->base = readDisplacement(&in->next, bytes);
  if (isRelative)
    in->base += (int64_t)in->next;
  else if (hasBase)
    in->base += getRegister(context, baseNumber);
}

/// Whether the instruction at `at` may be one that is executed here.
static int decode(Instruction *in, const uint8_t *at,
                  const ucontext_t *context) {
  memset(in, 0, sizeof *in);
  // Three bytes of VEX, map 0F38, W0.
  if (at[0] != 0xC4 || (at[1] & 0x1F) != 2 || (at[2] & 0x80) != 0)
    return 0;
  int high = ~at[1] >> 5, mod = at[4] >> 6;
  in->prefix = at[2] & 3;
  in->isWide = at[2] >> 2 & 1;
  in->source = ~at[2] >> 3 & 15;
  in->opcode = at[3];
  in->isMemory = mod != 3;
  in->reg = (at[4] >> 3 & 7) | (high & 4 ? 8 : 0);
  in->rm = (at[4] & 7) | (high & 1 ? 8 : 0);
  in->next = at + 5;
  if (in->isMemory)
    decodeMemory(in, context, mod, at[4] & 7, high & 3);
  return 1;
}

uint8_t *getSavedState(const ucontext_t *context) {
  return (uint8_t *)context->uc_mcontext.fpregs;
}

/// Asked for once: CPUID leaves a virtual machine.
static unsigned stateOffsets[kNumStates];

static void findStates(void) {
  enum { kStateLeaf = 0xD };
  unsigned size, c, d;
  for (int i = kVectorState; i < kNumStates; ++i)
    __get_cpuid_count(kStateLeaf, i, &size, &stateOffsets[i], &c, &d);
}

unsigned getStateOffset(int number) { return stateOffsets[number]; }

uint64_t *getSavedComponents(const ucontext_t *context) {
  enum { kHeader = 512 };
  return (uint64_t *)(getSavedState(context) + kHeader);
}

static void handle(int number, siginfo_t *info, void *data) {
  ucontext_t *context = data;
  const uint8_t *at = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
  Instruction in;
  (void)info;
  if (executeQuestion(context))
    return;
  if (!decode(&in, at, context) ||
      !(executeTiles(&in, context) || executeDot(&in, context))) {
    // It comes again, and ends the process.
    signal(number, SIG_DFL);
    return;
  }
  context->uc_mcontext.gregs[REG_RIP] = (int64_t)in.next;
}

__attribute__((constructor)) static void install(void) {
  struct sigaction action;
  findStates();
  readAnswers();
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGILL, &action, NULL);
}

/// Says what there was to do; tests read it.
__attribute__((destructor)) static void report(void) {
  fprintf(stderr, "emulated tiles: %ld\nemulated dots: %ld\n", emulatedTiles,
          emulatedDots);
  fprintf(stderr, "emulated questions: %ld\n", askedForTiles);
}

/// Answers for the kernel where a library asks it for permission to use AMX.
long syscall(long number, ...) {
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; ++i)
    arguments[i] = va_arg(list, long);
  va_end(list);
  const long kRequestPermission = 0x1023;
  if (number == SYS_arch_prctl && arguments[0] == kRequestPermission)
    return askForTiles() ? 0 : -1;
  long (*original)(long, ...) =
      (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  return original(number, arguments[0], arguments[1], arguments[2],
                  arguments[3], arguments[4], arguments[5]);
}
