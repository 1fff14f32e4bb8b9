// RUN: touch %t && not qtxc %s -o - --emit=mlir --dump-stages=%t/folder 2>&1 | FileCheck %s
// CHECK: error: cannot write the IR: {{[A-Z].*}}
