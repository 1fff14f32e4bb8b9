/* Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * The header is C, and its functions have C linkage. */

#include "qtx-c/Qtx.h"

int useHeaderFromC(void) { return qtxGetApiVersion(); }
