// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --qtx-to-storage --qtx-verify-storage-form --convert-qtx-to-linalg | FileCheck %s --check-prefix=LINALG

// The attention block of a pre-norm encoder of BERT-base's sizes, with all three
// of the papers' means in one place: activations quantized in groups of channels
// (PEG), clipped softmax, and a gate per head that the block's input opens.

!x = !qtx.grouped<i8:f32, axis=-1, [752, 16], {0.03:4, 0.4:-9}>
!qkv = !quant.uniform<i8:f32, 0.05>
!p = !quant.uniform<u8:f32, 0.00392156886>
!c = !quant.uniform<i8:f32, 0.02>

// LINALG-NOT: qtx.
// CHECK-LABEL: func @attention_block(
func.func @attention_block(
    %h: tensor<?x?x768xf32>, %mask: tensor<?x1x1x?xi1>,
    %ln_g: tensor<768xf32>, %ln_b: tensor<768xf32>,
    %wq: tensor<768x768xi8>, %sq: tensor<768xf32>, %bq: tensor<768xf32>,
    %wk: tensor<768x768xi8>, %sk: tensor<768xf32>, %bk: tensor<768xf32>,
    %wv: tensor<768x768xi8>, %sv: tensor<768xf32>, %bv: tensor<768xf32>,
    %wg: tensor<12x64xf32>, %bg: tensor<12xf32>,
    %wo: tensor<768x768xi8>, %so: tensor<768xf32>, %bo: tensor<768xf32>)
    -> tensor<?x?x768xf32> {
  %x = qtx.layer_norm %h gamma(%ln_g) beta(%ln_b) epsilon 1.0e-5
      : (tensor<?x?x768xf32>, tensor<768xf32>, tensor<768xf32>) -> tensor<?x?x768x!x>
  %q0 = qtx.linear %x, %wq scale(%sq) bias(%bq)
      : (tensor<?x?x768x!x>, tensor<768x768xi8>, tensor<768xf32>, tensor<768xf32>) -> tensor<?x?x768x!qkv>
  %k0 = qtx.linear %x, %wk scale(%sk) bias(%bk)
      : (tensor<?x?x768x!x>, tensor<768x768xi8>, tensor<768xf32>, tensor<768xf32>) -> tensor<?x?x768x!qkv>
  %v0 = qtx.linear %x, %wv scale(%sv) bias(%bv)
      : (tensor<?x?x768x!x>, tensor<768x768xi8>, tensor<768xf32>, tensor<768xf32>) -> tensor<?x?x768x!qkv>
  %gate = qtx.gate_projection linear %x weight(%wg) bias(%bg)
      : (tensor<?x?x768x!x>, tensor<12x64xf32>, tensor<12xf32>) -> tensor<?x12x?xf32>

  %q = qtx.split_heads %q0 : tensor<?x?x768x!qkv> -> tensor<?x12x?x64x!qkv>
  %k = qtx.split_heads %k0 : tensor<?x?x768x!qkv> -> tensor<?x12x?x64x!qkv>
  %v = qtx.split_heads %v0 : tensor<?x?x768x!qkv> -> tensor<?x12x?x64x!qkv>
  // CHECK: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} mask(%{{.*}}) scale 1.250000e-01 clip [-3.000000e-02, 1.000000e+00] probs !quant.uniform<u8:f32, {{.*}}> gate(%{{.*}}) gain 2.000000e+00 :
  %c = qtx.attention %q, %k, %v mask(%mask) scale 0.125 clip [-0.03, 1.0] probs !p
      gate(%gate) gain 2.0
      : (tensor<?x12x?x64x!qkv>, tensor<?x12x?x64x!qkv>, tensor<?x12x?x64x!qkv>,
         tensor<?x1x1x?xi1>, tensor<?x12x?xf32>) -> tensor<?x12x?x64x!c>
  %m = qtx.merge_heads %c : tensor<?x12x?x64x!c> -> tensor<?x?x768x!c>

  %o = qtx.linear %m, %wo scale(%so) bias(%bo)
      : (tensor<?x?x768x!c>, tensor<768x768xi8>, tensor<768xf32>, tensor<768xf32>) -> tensor<?x?x768xf32>
  %y = qtx.add %h, %o : (tensor<?x?x768xf32>, tensor<?x?x768xf32>) -> tensor<?x?x768xf32>
  return %y : tensor<?x?x768xf32>
}
