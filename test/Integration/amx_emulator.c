//===- amx_emulator.c - AMX in software -----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A library to load before others. It executes the instructions of AMX that
// this process may not: all of them on a machine without AMX, and on one that
// has it too, since it keeps the kernel from being asked for permission.
//
//===----------------------------------------------------------------------===//

#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { kTiles = 8, kMaxRows = 16, kMaxBytes = 64, kConfigBytes = 64 };

typedef struct {
  uint8_t rows;
  uint16_t bytes;
  uint8_t data[kMaxRows][kMaxBytes];
} Tile;

static __thread Tile tiles[kTiles];
static __thread uint8_t config[kConfigBytes];

/// Instructions executed so far, for tests.
long amx_emulated;

/// Fields of a VEX-encoded instruction.
typedef struct {
  const uint8_t *next;
  int prefix; // 0: none, 1: 66, 2: F3, 3: F2
  int opcode;
  int source; // VEX.vvvv
  int mod, reg, rm;
  /// The memory operand, and its index register as a stride.
  int64_t base, stride;
} Instruction;

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

/// Reads what follows ModRM of a memory operand.
static void decodeMemory(Instruction *in, const ucontext_t *context, int high) {
  int baseNumber = in->rm | (high & 1 ? 8 : 0);
  int isRelative = in->mod == 0 && in->rm == 5, hasBase = !isRelative;
  if (in->rm == 4) {
    int sib = *in->next++, indexNumber = (sib >> 3 & 7) | (high & 2 ? 8 : 0);
    baseNumber = (sib & 7) | (high & 1 ? 8 : 0);
    hasBase = !(in->mod == 0 && (sib & 7) == 5);
    if (indexNumber != 4)
      in->stride = getRegister(context, indexNumber) << (sib >> 6);
  }
  int bytes = in->mod == 1 ? 1 : in->mod == 2 || !hasBase ? 4 : 0;
  in->base = readDisplacement(&in->next, bytes);
  if (isRelative)
    in->base += (int64_t)in->next;
  else if (hasBase)
    in->base += getRegister(context, baseNumber);
}

/// Whether the instruction at `at` may be one of AMX.
static int decode(Instruction *in, const uint8_t *at,
                  const ucontext_t *context) {
  memset(in, 0, sizeof *in);
  // Three bytes of VEX, map 0F38, 128 bits, W0.
  if (at[0] != 0xC4 || (at[1] & 0x1F) != 2 || (at[2] & 0x84) != 0)
    return 0;
  in->prefix = at[2] & 3;
  in->source = ~at[2] >> 3 & 15;
  in->opcode = at[3];
  in->mod = at[4] >> 6;
  in->reg = at[4] >> 3 & 7;
  in->rm = at[4] & 7;
  in->next = at + 5;
  if (in->mod != 3)
    decodeMemory(in, context, ~at[1] >> 5 & 3);
  return 1;
}

static void loadConfig(const uint8_t *from) {
  memcpy(config, from, sizeof config);
  memset(tiles, 0, sizeof tiles);
  for (int i = 0; i < kTiles; ++i) {
    memcpy(&tiles[i].bytes, from + 16 + 2 * i, 2);
    tiles[i].rows = from[48 + i];
  }
}

/// Where a CPU with AMX keeps the configuration in what it saves at a signal; 0
/// if it has none.
static unsigned configOffset;

static void findConfig(void) {
  enum { kStateLeaf = 0xD, kConfigState = 17 };
  unsigned size, offset, c, d;
  if (__get_cpuid_count(kStateLeaf, kConfigState, &size, &offset, &c, &d) &&
      size == kConfigBytes)
    configOffset = offset;
}

/// Takes the configuration over that the CPU holds: permission is needed for
/// tiles only, so LDTILECFG does not end here on a machine with AMX.
static void takeConfig(const ucontext_t *context) {
  enum { kHeader = 512, kConfigState = 17 };
  const uint8_t *saved = (const uint8_t *)context->uc_mcontext.fpregs;
  uint64_t states;
  if (!configOffset)
    return;
  memcpy(&states, saved + kHeader, sizeof states);
  if ((states >> kConfigState & 1) &&
      memcmp(config, saved + configOffset, sizeof config) != 0)
    loadConfig(saved + configOffset);
}

static void moveRows(Tile *tile, const Instruction *in, int isStore) {
  if (!isStore)
    memset(tile->data, 0, sizeof tile->data);
  for (int r = 0; r < tile->rows; ++r) {
    uint8_t *memory = (uint8_t *)(in->base + r * in->stride);
    if (isStore)
      memcpy(memory, tile->data[r], tile->bytes);
    else
      memcpy(tile->data[r], memory, tile->bytes);
  }
}

/// sums += a * b, four neighbours at a time, wrapping.
static void multiply(Tile *sums, const Tile *a, const Tile *b, int isSignedA,
                     int isSignedB) {
  for (int m = 0; m < sums->rows; ++m)
    for (int n = 0; n < sums->bytes / 4; ++n) {
      uint32_t sum;
      memcpy(&sum, &sums->data[m][4 * n], 4);
      for (int k = 0; k < a->bytes; ++k) {
        uint8_t x = a->data[m][k], y = b->data[k / 4][4 * n + k % 4];
        int32_t left = isSignedA ? (int8_t)x : x;
        int32_t right = isSignedB ? (int8_t)y : y;
        sum += (uint32_t)(left * right);
      }
      memcpy(&sums->data[m][4 * n], &sum, 4);
    }
}

/// Whether it was one of AMX.
static int execute(const Instruction *in) {
  int isMemory = in->mod != 3;
  Tile *tile = &tiles[in->reg];
  switch (in->opcode) {
  case 0x49: // ldtilecfg, sttilecfg, tilerelease, tilezero
    if (isMemory && in->prefix == 0)
      loadConfig((const uint8_t *)in->base);
    else if (isMemory && in->prefix == 1)
      memcpy((void *)in->base, config, sizeof config);
    else if (!isMemory && in->prefix == 0)
      memset(config, 0, sizeof config);
    else if (!isMemory && in->prefix == 3)
      memset(tile->data, 0, sizeof tile->data);
    else
      return 0;
    return 1;
  case 0x4B: // tileloadd, tileloaddt1, tilestored
    if (!isMemory || in->prefix == 0)
      return 0;
    moveRows(tile, in, in->prefix == 2);
    return 1;
  case 0x5E: // tdpbuud, tdpbusd, tdpbsud, tdpbssd
    if (isMemory)
      return 0;
    multiply(tile, &tiles[in->rm], &tiles[in->source], in->prefix >= 2,
             in->prefix & 1);
    return 1;
  default:
    return 0;
  }
}

static void handle(int number, siginfo_t *info, void *data) {
  ucontext_t *context = data;
  const uint8_t *at = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
  Instruction in;
  (void)info;
  takeConfig(context);
  if (!decode(&in, at, context) || !execute(&in)) {
    // It comes again, and ends the process.
    signal(number, SIG_DFL);
    return;
  }
  ++amx_emulated;
  context->uc_mcontext.gregs[REG_RIP] = (int64_t)in.next;
}

__attribute__((constructor)) static void install(void) {
  struct sigaction action;
  findConfig();
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGILL, &action, NULL);
}

/// Grants the permission to use AMX without telling the kernel.
long syscall(long number, ...) {
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; ++i)
    arguments[i] = va_arg(list, long);
  va_end(list);
  const long kRequestPermission = 0x1023;
  if (number == SYS_arch_prctl && arguments[0] == kRequestPermission)
    return 0;
  long (*original)(long, ...) =
      (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  return original(number, arguments[0], arguments[1], arguments[2],
                  arguments[3], arguments[4], arguments[5]);
}
