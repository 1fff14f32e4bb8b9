//===- dots.c - Products of bytes in vectors ------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "emulator.h"
#include <string.h>

enum { kLanes = 8, kBytes = 16, kRegisters = 16, kLegacyOffset = 160 };

long emulatedDots;

/// Where the halves of a register are saved. Bytes beyond 256 bits, which every
/// instruction here clears, are no part of it.
typedef struct {
  uint8_t *low, *high;
} Register;

/// The second halves of all registers; those in their initial state are zero.
static uint8_t *getHighHalves(ucontext_t *context) {
  uint8_t *halves = getSavedState(context) + getStateOffset(kVectorState);
  uint64_t bit = (uint64_t)1 << kVectorState;
  if (!(*getSavedComponents(context) & bit))
    memset(halves, 0, kRegisters * kBytes);
  *getSavedComponents(context) |= bit;
  return halves;
}

static Register getRegister(ucontext_t *context, int number) {
  return (Register){getSavedState(context) + kLegacyOffset + kBytes * number,
                    getHighHalves(context) + kBytes * number};
}

static void readRegister(ucontext_t *context, int number, uint8_t *to) {
  Register from = getRegister(context, number);
  memcpy(to, from.low, kBytes);
  memcpy(to + kBytes, from.high, kBytes);
}

static void writeRegister(ucontext_t *context, int number, const uint8_t *from,
                          int isWide) {
  enum { kUpperBytes = 32 };
  Register to = getRegister(context, number);
  memcpy(to.low, from, kBytes);
  memcpy(to.high, from + kBytes, kBytes);
  if (!isWide)
    memset(to.high, 0, kBytes);
  if (*getSavedComponents(context) >> kUpperState & 1)
    memset(getSavedState(context) + getStateOffset(kUpperState) +
               kUpperBytes * number,
           0, kUpperBytes);
}

/// sums += x * y, four neighbours at a time, wrapping.
static void multiply(uint8_t *sums, const uint8_t *x, const uint8_t *y,
                     int isSignedX, int isSignedY) {
  for (int lane = 0; lane < kLanes; ++lane) {
    uint32_t sum;
    memcpy(&sum, sums + 4 * lane, 4);
    for (int i = 4 * lane; i < 4 * lane + 4; ++i) {
      int32_t left = isSignedX ? (int8_t)x[i] : x[i];
      int32_t right = isSignedY ? (int8_t)y[i] : y[i];
      sum += (uint32_t)(left * right);
    }
    memcpy(sums + 4 * lane, &sum, 4);
  }
}

/// vpdpbuud, vpdpbusd, vpdpbsud, vpdpbssd.
int executeDot(const Instruction *in, ucontext_t *context) {
  uint8_t sums[2 * kBytes], x[2 * kBytes], y[2 * kBytes] = {0};
  if (in->opcode != 0x50)
    return 0;
  readRegister(context, in->reg, sums);
  readRegister(context, in->source, x);
  if (in->isMemory)
    memcpy(y, (const uint8_t *)in->base + in->stride,
           in->isWide ? 2 * kBytes : kBytes);
  else
    readRegister(context, in->rm, y);
  multiply(sums, x, y, in->prefix >= 2, in->prefix & 1);
  writeRegister(context, in->reg, sums, in->isWide);
  __atomic_fetch_add(&emulatedDots, 1, __ATOMIC_RELAXED);
  return 1;
}
