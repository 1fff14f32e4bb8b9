// RUN: qtx-opt %s --pass-pipeline='builtin.module(func.func(qtx-asserts-to-status))' | FileCheck %s

// CHECK-LABEL: func @f
func.func @f(%a: i1, %b: i1) -> i32 {
  // CHECK: cf.cond_br %{{.*}}, ^[[NEXT:.*]], ^[[FAILED:.*]]
  // CHECK: ^[[FAILED]]:
  // CHECK-NEXT: %[[STATUS:.*]] = arith.constant 4 : i32
  // CHECK-NEXT: return %[[STATUS]] : i32
  // CHECK: ^[[NEXT]]:
  cf.assert %a, "data" {qtx.status = 4 : i32}
  // Without a status it is an assertion.
  // CHECK-NEXT: cf.assert
  cf.assert %b, "plain"
  %ok = arith.constant 0 : i32
  return %ok : i32
}
