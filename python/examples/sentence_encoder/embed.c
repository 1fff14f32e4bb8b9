/* Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Embeds sentences with a compiled encoder: this program is linked with the
 * object file that qtxc wrote, and with nothing else of qtx.
 *
 *     embed TOKENS EMBEDDINGS
 *
 * TOKENS holds 64-bit integers: the number of sentences, then for each sentence
 * its number of tokens and the tokens. EMBEDDINGS receives a row of d floats
 * for each: the mean over the tokens, of length 1. Prints the microseconds per
 * sentence.
 */

#include "encoder.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void fail(const char *what) {
  fprintf(stderr, "embed: %s\n", what);
  exit(1);
}

static void *allocate(size_t bytes) {
  void *memory = NULL;
  if (posix_memalign(&memory, 64, bytes ? bytes : 64))
    fail("out of memory");
  return memory;
}

static void check(int32_t status) {
  if (status) {
    fprintf(stderr, "embed: the encoder returned status %d\n", (int)status);
    exit(1);
  }
}

/* Reads a whole file of 64-bit integers. */
static int64_t *read_tokens(const char *path, size_t *count) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END))
    fail("cannot open the tokens");
  *count = (size_t)ftell(file) / sizeof(int64_t);
  rewind(file);
  int64_t *tokens = allocate(*count * sizeof(int64_t));
  if (fread(tokens, sizeof(int64_t), *count, file) != *count)
    fail("cannot read the tokens");
  fclose(file);
  return tokens;
}

/* The mean of the rows of hidden, of length 1. */
static void pool(const float *hidden, int64_t rows, int64_t d, float *out) {
  memset(out, 0, (size_t)d * sizeof(float));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < d; ++c)
      out[c] += hidden[r * d + c];
  double norm = 0;
  for (int64_t c = 0; c < d; ++c)
    norm += (double)out[c] * out[c];
  for (int64_t c = 0; c < d; ++c)
    out[c] = (float)(out[c] / sqrt(norm));
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec * 1e-3;
}

/* Embeds one sentence and returns the microseconds of the encoder. */
static double embed(const int64_t *ids, int64_t length, FILE *out) {
  int64_t dims[2] = {1, length}, shape[3], bytes = 0;
  check(encoder_output_shape(0, dims, shape));
  check(encoder_workspace_size(dims, &bytes));
  float *hidden = allocate((size_t)(shape[0] * shape[1] * shape[2]) * 4);
  float *embedding = allocate((size_t)shape[2] * 4);
  int64_t *ones = allocate((size_t)length * 8);
  int64_t *zeros = allocate((size_t)length * 8);
  void *workspace = allocate((size_t)bytes);
  for (int64_t i = 0; i < length; ++i)
    ones[i] = 1, zeros[i] = 0;
  double start = now();
  check(encoder_run(ids, ones, zeros, hidden, dims, workspace, (size_t)bytes));
  double time = now() - start;
  pool(hidden, shape[1], shape[2], embedding);
  if (fwrite(embedding, 4, (size_t)shape[2], out) != (size_t)shape[2])
    fail("cannot write the embeddings");
  free(hidden), free(embedding), free(ones), free(zeros), free(workspace);
  return time;
}

int main(int argc, char **argv) {
  if (argc != 3)
    fail("expected: embed TOKENS EMBEDDINGS");
  size_t count;
  int64_t *tokens = read_tokens(argv[1], &count);
  FILE *out = fopen(argv[2], "wb");
  if (!out || count == 0)
    fail("nothing to read or nowhere to write");
  double time = 0;
  size_t at = 1;
  for (int64_t sentence = 0; sentence < tokens[0]; ++sentence) {
    int64_t length = tokens[at++];
    time += embed(tokens + at, length, out);
    at += (size_t)length;
  }
  if (fclose(out))
    fail("cannot write the embeddings");
  printf("%.1f\n", time / (double)tokens[0]);
  free(tokens);
  return 0;
}
