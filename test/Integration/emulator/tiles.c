//===- tiles.c - Products of tiles ----------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "emulator.h"
#include <string.h>

enum { kTiles = 8, kMaxRows = 16, kMaxBytes = 64, kConfigBytes = 64 };

typedef struct {
  uint8_t rows;
  uint16_t bytes;
  uint8_t data[kMaxRows][kMaxBytes];
} Tile;

static __thread Tile tiles[kTiles];
static __thread uint8_t config[kConfigBytes];

long emulatedTiles;

static void loadConfig(const uint8_t *from) {
  memcpy(config, from, sizeof config);
  memset(tiles, 0, sizeof tiles);
  for (int i = 0; i < kTiles; ++i) {
    memcpy(&tiles[i].bytes, from + 16 + 2 * i, 2);
    tiles[i].rows = from[48 + i];
  }
}

/// Takes the configuration over that the CPU holds: permission is needed for
/// tiles only, so LDTILECFG does not end here on a machine with AMX.
static void takeConfig(const ucontext_t *context) {
  unsigned offset = getStateOffset(kTileConfigState);
  const uint8_t *saved = getSavedState(context) + offset;
  if (!offset || !(*getSavedComponents(context) >> kTileConfigState & 1))
    return;
  if (memcmp(config, saved, sizeof config) != 0)
    loadConfig(saved);
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

static int execute(const Instruction *in) {
  Tile *tile = &tiles[in->reg & 7];
  switch (in->opcode) {
  case 0x49: // ldtilecfg, sttilecfg, tilerelease, tilezero
    if (in->isMemory && in->prefix == 0)
      loadConfig((const uint8_t *)in->base);
    else if (in->isMemory && in->prefix == 1)
      memcpy((void *)in->base, config, sizeof config);
    else if (!in->isMemory && in->prefix == 0)
      memset(config, 0, sizeof config);
    else if (!in->isMemory && in->prefix == 3)
      memset(tile->data, 0, sizeof tile->data);
    else
      return 0;
    return 1;
  case 0x4B: // tileloadd, tileloaddt1, tilestored
    if (!in->isMemory || in->prefix == 0)
      return 0;
    moveRows(tile, in, in->prefix == 2);
    return 1;
  case 0x5E: // tdpbuud, tdpbusd, tdpbsud, tdpbssd
    if (in->isMemory)
      return 0;
    multiply(tile, &tiles[in->rm & 7], &tiles[in->source & 7], in->prefix >= 2,
             in->prefix & 1);
    return 1;
  default:
    return 0;
  }
}

int executeTiles(const Instruction *in, const ucontext_t *context) {
  if (in->isWide)
    return 0;
  takeConfig(context);
  if (!execute(in))
    return 0;
  __atomic_fetch_add(&emulatedTiles, 1, __ATOMIC_RELAXED);
  return 1;
}
