// RUN: not qtx-opt %s --qtx-make-entry=entry=h 2>&1 | FileCheck %s
// RUN: qtx-opt %s --qtx-make-entry=entry=g | FileCheck %s --check-prefix=G

// CHECK: error: expected a public function 'h'
// G: func @qtx_entry(%{{.*}}: memref<2xf32> {qtx.dims = [""], qtx.element = "f32", qtx.name = "arg0", qtx.role = "input"}) -> i32
// G-NOT: func @f
func.func @f() { return }
func.func @g(%x: tensor<2xf32>) { return }
