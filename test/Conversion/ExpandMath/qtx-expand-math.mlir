// RUN: qtx-opt %s --qtx-expand-math | FileCheck %s
// RUN: qtx-opt %s --qtx-expand-math --remark-format=emitRemark --remarks-filter=qtx-expand-math 2>&1 | FileCheck %s --check-prefix=REMARK

// Nothing is left that the target's libm would compute.
// CHECK-LABEL: func @scalars
// CHECK-NOT: math.{{exp|log|erf|tanh|cos|rsqrt}}
// CHECK: return
// REMARK: expanded 'math.exp'
// REMARK: expanded 'math.rsqrt'
func.func @scalars(%x: f32) -> (f32, f32, f32, f32, f32, f32) {
  %0 = math.exp %x : f32
  %1 = math.log %x : f32
  %2 = math.erf %x : f32
  %3 = math.tanh %x : f32
  %4 = math.cos %x : f32
  %5 = math.rsqrt %x : f32
  return %0, %1, %2, %3, %4, %5 : f32, f32, f32, f32, f32, f32
}

// CHECK-LABEL: func @vectors
// CHECK-NOT: math.erf
// CHECK: math.fma {{.*}} : vector<8xf32>
// CHECK: math.fma {{.*}} : vector<[4]xf32>
func.func @vectors(%x: vector<8xf32>, %y: vector<[4]xf32>)
    -> (vector<8xf32>, vector<[4]xf32>) {
  %0 = math.erf %x : vector<8xf32>
  %1 = math.exp %y : vector<[4]xf32>
  return %0, %1 : vector<8xf32>, vector<[4]xf32>
}

// What no kernel needs fast is computed in f64.
// CHECK-LABEL: func @wide
// CHECK-NOT: math.{{exp|sin|powf}}
// CHECK: return
func.func @wide(%x: f64, %y: f32) -> (f64, f32, f32) {
  %0 = math.exp %x : f64
  %1 = math.sin %y : f32
  %2 = math.powf %y, %1 : f32
  return %0, %1, %2 : f64, f32, f32
}

// CHECK-LABEL: func @others
// CHECK: math.erf %{{.*}} : f64
// CHECK: math.cbrt
// REMARK: kept 'math.erf': no function of its type
func.func @others(%x: f64, %y: f32) -> (f64, f32) {
  %0 = math.erf %x : f64
  %1 = math.cbrt %y : f32
  return %0, %1 : f64, f32
}
