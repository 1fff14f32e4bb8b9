//===- OpenMP.cpp - LLVM's OpenMP library ---------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Target/OpenMP.h"
#include "llvm/ADT/Twine.h"
#include <dlfcn.h>

using namespace qtx;

/// A function that every library with LLVM's interface has.
static constexpr const char *kFunction = "__kmpc_fork_call";

/// LLVM's library and Intel's, which has the same interface.
static constexpr const char *kNames[] = {"libomp.so.5", "libiomp5.so"};

bool qtx::needsOpenMP(const llvm::object::ObjectFile &object) {
  for (const llvm::object::SymbolRef &symbol : object.symbols()) {
    auto name = symbol.getName();
    if (name && *name == kFunction)
      return true;
    llvm::consumeError(name.takeError());
  }
  return false;
}

/// The library that has `address`.
static std::string getPath(void *address) {
  Dl_info info;
  return address && dladdr(address, &info) ? info.dli_fname : "";
}

/// The path of a library that this process has loaded already: two of them in
/// one process get into each other's way.
static std::string findLoaded() {
  std::string path = getPath(dlsym(RTLD_DEFAULT, kFunction));
  for (const char *name : kNames)
    if (void *handle = dlopen(name, RTLD_LAZY | RTLD_NOLOAD); path.empty())
      path = handle ? getPath(dlsym(handle, kFunction)) : "";
  return path;
}

llvm::Expected<std::string> qtx::loadOpenMP() {
  std::string path = findLoaded();
  for (const char *name :
       {"/usr/lib/llvm-" QTX_LLVM_MAJOR_STRING "/lib/libomp.so.5", kNames[0]})
    if (path.empty())
      if (void *handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL))
        path = getPath(dlsym(handle, kFunction));
  if (path.empty())
    return llvm::createStringError(
        "expected LLVM's OpenMP library 'libomp.so.5' for threads, found none; "
        "it is in the package libomp-" QTX_LLVM_MAJOR_STRING "-dev");
  return path;
}
