//===- race_runner.c - Call a model from threads --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two threads call the model of test_threads.py; with an argument they share a
// workspace, which is a race.
//
//===----------------------------------------------------------------------===//

#include "model.h"
#include <pthread.h>
#include <stdlib.h>

enum { kRows = 300, kColumns = 130 };

static float input[kRows * kColumns];
static int isShared;
static void *sharedWorkspace;
static int64_t workspaceBytes;

static void *call(void *status) {
  const int64_t dims[1] = {kRows};
  float *output = malloc(sizeof(input));
  void *workspace = isShared ? sharedWorkspace : malloc(workspaceBytes);
  for (int i = 0; i < 3; ++i)
    *(int32_t *)status |= m_run(input, output, dims, workspace, workspaceBytes);
  if (!isShared)
    free(workspace);
  free(output);
  return NULL;
}

int main(int argc, char **argv) {
  (void)argv;
  const int64_t dims[1] = {kRows};
  int32_t statuses[2] = {0, 0};
  pthread_t threads[2];
  isShared = argc > 1;
  for (int i = 0; i < kRows * kColumns; ++i)
    input[i] = (float)(i % 17);
  statuses[0] = m_workspace_size(dims, &workspaceBytes);
  sharedWorkspace = malloc(workspaceBytes);
  for (int i = 0; i < 2; ++i)
    pthread_create(&threads[i], NULL, call, &statuses[i]);
  for (int i = 0; i < 2; ++i)
    pthread_join(threads[i], NULL);
  free(sharedWorkspace);
  return statuses[0] | statuses[1];
}
