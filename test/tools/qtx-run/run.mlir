// Names, orders of elements, compression, conversion of integers.

// RUN: %python %S/Inputs/npz.py write %t.in.npz 'x:<f4:2x3=1,2,3,-4,-5,nan' 'arg1:<i8:2=-8,7' 'flag:|b1:=1'
// RUN: qtx-run %s --inputs=%t.in.npz --outputs=%t.out.npz 2>&1 | count 0
// RUN: %python %S/Inputs/npz.py print %t.out.npz | FileCheck %s

// RUN: %python %S/Inputs/npz.py write %t.f.npz --deflate 'x:<f4:2x3:F=1,-4,2,-5,3,nan' 'arg1:|i1:2:v2=-8,7' 'flag:<u8::v3=1'
// RUN: qtx-run %s --inputs=%t.f.npz --outputs=%t.f.out.npz --expected=%t.out.npz --reference
// RUN: cmp %t.out.npz %t.f.out.npz

// Outputs lie in the archive in the order of the function.
// CHECK: codes.npy |i1 (2, 3) False [5, 7, 9, -5, -7, -128]
// CHECK-NEXT: out1.npy |i1 (2,) False [-8, 7]
// CHECK-NEXT: flag.npy |b1 () False [True]
// CHECK-NEXT: out3.npy <f4 (2, 3) False [1.0, 2.0, 3.0, -4.0, -5.0, nan]
// CHECK-NOT: {{.}}
func.func @main(%x: tensor<?x3xf32> {qtx.name = "x"}, %n: tensor<2xi4>, %b: i1 {qtx.name = "flag"})
    -> (tensor<?x3xi8> {qtx.name = "codes"}, tensor<2xi4>, i1 {qtx.name = "flag"}, tensor<?x3xf32>) {
  %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.5:3> : tensor<?x3xf32> -> tensor<?x3xi8>
  return %q, %n, %b, %x : tensor<?x3xi8>, tensor<2xi4>, i1, tensor<?x3xf32>
}
