/* Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Runs a model from the files in0, in1, ..., and model.weights if it has some,
 * and writes out0, out1, ...
 *
 *     program THREADS DIMS...
 *
 * With THREADS 0 every buffer lies between pages that cannot be accessed, once
 * at its end and once at its beginning, the workspace at several alignments and
 * with several contents, and all calls must give the same bits. Otherwise so
 * many threads call the model at once; -THREADS threads share a workspace,
 * which is a mistake that the thread sanitizer has to find. Prints the status
 * and the shapes.
 */

#include "adapter.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NUM_BUFFERS (NUM_INPUTS + NUM_OUTPUTS)
#define MAX_RANK 8

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static char *read_file(const char *name, size_t *size) {
  FILE *file = fopen(name, "rb");
  if (!file || fseek(file, 0, SEEK_END))
    fail("cannot open an input");
  *size = (size_t)ftell(file);
  rewind(file);
  char *data = malloc(*size + 1);
  if (!data || fread(data, 1, *size, file) != *size)
    fail("cannot read an input");
  fclose(file);
  return data;
}

/* Memory that ends where a page begins that cannot be accessed, or begins where
 * such a page ends. */
static char *guarded(size_t size, int at_end) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t inside = (size + page - 1) / page * page + page;
  char *memory = mmap(NULL, inside + 2 * page, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED ||
      mprotect(memory + page, inside, PROT_READ | PROT_WRITE))
    fail("cannot map memory");
  return at_end ? memory + page + inside - size : memory + page;
}

struct call {
  char **inputs;
  size_t *sizes;       /* of all buffers, in bytes */
  const char *weights; /* the content of the file */
  size_t weights_size;
  const int64_t *dims;
  size_t num_dims;
  size_t workspace;
  void *buffers[NUM_BUFFERS];
  int32_t status;
};

static void run_guarded(struct call *call, int at_end, size_t shift,
                        int poison) {
  for (int i = 0; i < NUM_BUFFERS; ++i) {
    call->buffers[i] = guarded(call->sizes[i], at_end);
    if (i < NUM_INPUTS)
      memcpy(call->buffers[i], call->inputs[i], call->sizes[i]);
    else
      memset(call->buffers[i], poison, call->sizes[i]);
  }
  char *weights = guarded(call->weights_size, at_end);
  memcpy(weights, call->weights, call->weights_size);
  int64_t *dims = (int64_t *)guarded(call->num_dims * 8, at_end);
  if (call->num_dims)
    memcpy(dims, call->dims, call->num_dims * 8);
  /* At the end, the shift makes the alignment odd by moving the beginning. */
  char *workspace = guarded(call->workspace + shift, at_end);
  workspace += at_end ? 0 : shift;
  size_t bytes = call->workspace + (at_end ? shift : 0);
  memset(workspace, poison, bytes);
  call->status = call_model(call->buffers, weights, dims, workspace, bytes);
  if (memcmp(weights, call->weights, call->weights_size))
    fail("the weights were changed");
  for (int i = 0; i < NUM_INPUTS; ++i)
    if (memcmp(call->buffers[i], call->inputs[i], call->sizes[i]))
      fail("an input was changed");
}

static char *shared_workspace;

static void *run_thread(void *argument) {
  struct call *call = argument;
  for (int i = 0; i < NUM_BUFFERS; ++i)
    call->buffers[i] =
        i < NUM_INPUTS ? call->inputs[i] : malloc(call->sizes[i] + 1);
  char *workspace =
      shared_workspace ? shared_workspace : malloc(call->workspace);
  if (!shared_workspace)
    memset(workspace, 0xFF, call->workspace);
  for (int i = 0; i < 10; ++i)
    call->status = call_model(call->buffers, call->weights, call->dims,
                              workspace, call->workspace);
  if (!shared_workspace)
    free(workspace);
  return NULL;
}

static void compare(const struct call *first, const struct call *second) {
  if (first->status != second->status)
    fail("the status differs between calls");
  for (int i = NUM_INPUTS; i < NUM_BUFFERS && !first->status; ++i)
    if (memcmp(first->buffers[i], second->buffers[i], first->sizes[i]))
      fail("an output differs between calls");
}

static void run_all_guarded(struct call *first) {
  run_guarded(first, 1, 0, 0);
  for (int at_end = 0; at_end < 2; ++at_end)
    for (size_t shift = 0; shift < 4; ++shift) {
      struct call other = *first;
      run_guarded(&other, at_end, shift * 21, shift % 2 ? 0xFF : 0x5A);
      compare(first, &other);
    }
}

static void run_threads(struct call *first, int count) {
  struct call *calls = malloc((size_t)count * sizeof(*calls));
  pthread_t *threads = malloc((size_t)count * sizeof(*threads));
  for (int i = 0; i < count; ++i) {
    calls[i] = *first;
    if (pthread_create(&threads[i], NULL, run_thread, &calls[i]))
      fail("cannot create a thread");
  }
  for (int i = 0; i < count; ++i)
    pthread_join(threads[i], NULL);
  *first = calls[0];
  for (int i = 1; i < count && !shared_workspace; ++i)
    compare(first, &calls[i]);
}

static void write_outputs(const struct call *call) {
  for (int i = 0; i < NUM_OUTPUTS; ++i) {
    char name[16];
    snprintf(name, sizeof name, "out%d", i);
    FILE *file = fopen(name, "wb");
    size_t size = call->sizes[NUM_INPUTS + i];
    if (!file || fwrite(call->buffers[NUM_INPUTS + i], 1, size, file) != size ||
        fclose(file))
      fail("cannot write an output");
  }
}

int main(int argc, char **argv) {
  if (argc < 2)
    fail("expected: program THREADS DIMS...");
  int64_t dims[16] = {0}, bytes = 0, shape[NUM_OUTPUTS + 1][MAX_RANK];
  char *inputs[NUM_INPUTS + 1];
  size_t sizes[NUM_BUFFERS + 1], num_dims = (size_t)argc - 2;
  for (size_t i = 0; i < num_dims; ++i)
    dims[i] = atoll(argv[i + 2]);
  for (int i = 0; i < NUM_INPUTS; ++i) {
    char name[16];
    snprintf(name, sizeof name, "in%d", i);
    inputs[i] = read_file(name, &sizes[i]);
  }
  for (int i = 0; i < NUM_OUTPUTS; ++i) {
    if (m_output_shape(i, dims, shape[i]))
      fail("expected the shape of an output");
    sizes[NUM_INPUTS + i] = element_sizes[NUM_INPUTS + i];
    for (int k = 0; k < output_ranks[i]; ++k)
      sizes[NUM_INPUTS + i] *= (size_t)shape[i][k];
  }
  if (m_workspace_size(dims, &bytes))
    fail("expected the size of the workspace");
  size_t weights_size = 0;
  char *weights = HAS_WEIGHTS ? read_file("model.weights", &weights_size) : "";
  struct call call = {.inputs = inputs,
                      .sizes = sizes,
                      .weights = weights,
                      .weights_size = weights_size,
                      .dims = dims,
                      .num_dims = num_dims,
                      .workspace = (size_t)bytes};
  int threads = atoi(argv[1]);
  if (threads < 0)
    shared_workspace = malloc(call.workspace);
  if (threads)
    run_threads(&call, abs(threads));
  else
    run_all_guarded(&call);
  write_outputs(&call);
  printf("%d\n", (int)call.status);
  for (int i = 0; i < NUM_OUTPUTS; ++i) {
    printf("shape");
    for (int k = 0; k < output_ranks[i]; ++k)
      printf(" %lld", (long long)shape[i][k]);
    printf("\n");
  }
  return 0;
}
