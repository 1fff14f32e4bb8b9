//===- questions.c - What the CPU and the kernel say ----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Objects ask with CPUID, XGETBV and SYSCALL, which no library can take from
// them. Tests exchange the first byte of these instructions, 0F, by one that
// begins no instruction: they end here. The environment has the answers:
//
//   EMULATED_CPU          features to add, and to take away behind a minus:
//                         `amx-tile,amx-int8,-avx512vnni`
//   EMULATED_PERMISSION   `refused`: the kernel permits no tiles
//
//===----------------------------------------------------------------------===//

#define _GNU_SOURCE
#include "emulator.h"
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

enum { kEAX, kEBX, kECX, kEDX, kWords };

static const struct {
  const char *name;
  unsigned leaf, subleaf, word, bit;
} kFeatures[] = {
    {"avx2", 7, 0, kEBX, 5},        {"avx512f", 7, 0, kEBX, 16},
    {"avx512vnni", 7, 0, kECX, 11}, {"amx-tile", 7, 0, kEDX, 24},
    {"amx-int8", 7, 0, kEDX, 25},   {"avxvnni", 7, 1, kEAX, 4},
    {"avxvnniint8", 7, 1, kEDX, 4},
};
enum { kNumFeatures = sizeof kFeatures / sizeof *kFeatures };

long askedForTiles;

/// 1: added, -1: taken away.
static int changes[kNumFeatures];
static int isRefused;

void readAnswers(void) {
  const char *list = getenv("EMULATED_CPU");
  const char *permission = getenv("EMULATED_PERMISSION");
  isRefused = permission && strcmp(permission, "refused") == 0;
  while (list && *list) {
    size_t length = strcspn(list, ",");
    int isLess = *list == '-';
    int found = length == 0;
    for (int i = 0; i < kNumFeatures; ++i)
      if (strlen(kFeatures[i].name) == length - isLess &&
          strncmp(kFeatures[i].name, list + isLess, length - isLess) == 0) {
        changes[i] = isLess ? -1 : 1;
        found = 1;
      }
    if (!found)
      abort();
    list += length + (list[length] == ',');
  }
}

int askForTiles(void) {
  __atomic_fetch_add(&askedForTiles, 1, __ATOMIC_RELAXED);
  return !isRefused;
}

static void answerCPUID(greg_t *registers) {
  unsigned words[kWords], leaf = registers[REG_RAX], sub = registers[REG_RCX];
  __cpuid_count(leaf, sub, words[kEAX], words[kEBX], words[kECX], words[kEDX]);
  for (int i = 0; i < kNumFeatures; ++i) {
    unsigned bit = 1u << kFeatures[i].bit;
    unsigned *word = &words[kFeatures[i].word];
    if (kFeatures[i].leaf != leaf)
      continue;
    if (kFeatures[i].subleaf == sub && changes[i])
      *word = changes[i] > 0 ? *word | bit : *word & ~bit;
    // There are as many leaves below as the features take.
    if (sub == 0 && changes[i] > 0 && words[kEAX] < kFeatures[i].subleaf)
      words[kEAX] = kFeatures[i].subleaf;
  }
  registers[REG_RAX] = words[kEAX];
  registers[REG_RBX] = words[kEBX];
  registers[REG_RCX] = words[kECX];
  registers[REG_RDX] = words[kEDX];
}

/// The operating system keeps the registers of the features that are added.
static void answerXGETBV(greg_t *registers) {
  const unsigned kTileState = 0x60000;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(registers[REG_RCX]));
  for (int i = 0; i < kNumFeatures; ++i)
    if (changes[i] > 0 && strncmp(kFeatures[i].name, "amx-", 4) == 0)
      low |= kTileState;
  registers[REG_RAX] = low;
  registers[REG_RDX] = high;
}

static int answerSystemCall(greg_t *registers) {
  const long kRequestPermission = 0x1023, kTileData = 18;
  if (registers[REG_RAX] != SYS_arch_prctl ||
      registers[REG_RDI] != kRequestPermission ||
      registers[REG_RSI] != kTileData)
    return 0;
  registers[REG_RAX] = askForTiles() ? 0 : -EPERM;
  return 1;
}

int executeQuestion(ucontext_t *context) {
  greg_t *registers = context->uc_mcontext.gregs;
  const uint8_t *at = (const uint8_t *)registers[REG_RIP];
  int length = 2;
  if (at[0] != 0x06)
    return 0;
  if (at[1] == 0xA2) {
    answerCPUID(registers);
  } else if (at[1] == 0x01 && at[2] == 0xD0) {
    answerXGETBV(registers);
    length = 3;
  } else if (at[1] != 0x05 || !answerSystemCall(registers)) {
    return 0;
  }
  registers[REG_RIP] += length;
  return 1;
}
